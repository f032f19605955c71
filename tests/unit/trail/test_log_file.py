from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_cloudtrail.trail.log_file import (
    Folder,
    LogFile,
    TrailLocation,
    log_file,
    log_file_of_uri,
    log_files_of,
    parse_key,
    stamps_of,
)
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError
from tests.support.log_files import ACCOUNT, OTHER_ACCOUNT, key_of


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


STAMP = utc(2026, 2, 3, 10, 0)
NAME = f"{ACCOUNT}_CloudTrail_eu-west-1_20260203T1000Z_Q1w2E3r4T5y6U7i8.json.gz"
FOREIGN_DIGIT = NAME.replace("_2026", "_\uff12026")
DAY = f"{ACCOUNT}/CloudTrail/eu-west-1/2026/02/03"
REGION_FOLDER = f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/"


@pytest.mark.parametrize(
    ("key", "prefix", "organization"),
    [
        pytest.param(f"AWSLogs/{DAY}/{NAME}", "", None, id="account layout"),
        pytest.param(f"AWSLogs/o-abc123def4/{DAY}/{NAME}", "", "o-abc123def4", id="organization layout"),
        pytest.param(f"audit/AWSLogs/{DAY}/{NAME}", "audit", None, id="prefix"),
        pytest.param(f"a/b c/d/AWSLogs/{DAY}/{NAME}", "a/b c/d", None, id="prefix with slashes and a space"),
        pytest.param(f"a/b/AWSLogs/o-1x/{DAY}/{NAME}", "a/b", "o-1x", id="prefix and organization"),
        pytest.param(f"AWSLogs/AWSLogs/{DAY}/{NAME}", "AWSLogs", None, id="prefix called AWSLogs"),
        pytest.param(
            f"copy/AWSLogs/{DAY}/AWSLogs/{DAY}/{NAME}", f"copy/AWSLogs/{DAY}", None, id="a copy inside of a trail"
        ),
    ],
)
def test_log_file_keys(key: str, prefix: str, organization: str | None) -> None:
    parsed = parse_key(key)
    assert parsed is not None
    assert parsed == (parsed.__class__)(Folder.LOG, ACCOUNT, "eu-west-1", STAMP, prefix, organization)
    assert log_file("example-trail", key, 17, "e1") == LogFile(
        "example-trail", key, ACCOUNT, "eu-west-1", STAMP, 17, "e1"
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"{ACCOUNT}_CloudTrail_us-east-2_20140302T2030Zabcdef0123456789.json.gz", id="of 2014"),
        pytest.param(f"{ACCOUNT}_CloudTrail_us-east-2_20140302T2030Z_abcdef.json.gz", id="fewer characters"),
        pytest.param(f"{ACCOUNT}_CloudTrail_us-east-2_20140302T2030Z_ab_cd.json.gz", id="underscore among them"),
    ],
)
def test_names_are_read_leniently(name: str) -> None:
    found = log_file("b", f"AWSLogs/{ACCOUNT}/CloudTrail/us-east-2/2014/03/02/{name}")
    assert found is not None
    assert found.delivered_at == utc(2014, 3, 2, 20, 30)


@pytest.mark.parametrize(
    ("account", "region"),
    [
        pytest.param("accountid", "eu-west-1", id="account is no number"),
        pytest.param("123", "us-gov-west-1", id="short account, GovCloud"),
        pytest.param(ACCOUNT, "ap-southeast-5", id="young Region"),
    ],
)
def test_accounts_and_regions_are_taken_as_they_are(account: str, region: str) -> None:
    found = log_file("b", key_of(account=account, region=region))
    assert found is not None
    assert (found.account_id, found.region) == (account, region)


@pytest.mark.parametrize(
    ("key", "folder", "stamp"),
    [
        pytest.param(
            f"AWSLogs/{ACCOUNT}/CloudTrail-Insight/eu-west-1/2026/02/03/"
            f"{ACCOUNT}_CloudTrail-Insight_eu-west-1_20260203T1000Z_Q1w2E3r4T5y6U7i8.json.gz",
            Folder.INSIGHT,
            STAMP,
            id="Insight",
        ),
        pytest.param(
            f"AWSLogs/o-1x/{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/02/03/"
            f"{ACCOUNT}_CloudTrail-Digest_eu-west-1_audit_trail_eu-central-1_20260203T100512Z.json.gz",
            Folder.DIGEST,
            utc(2026, 2, 3, 10, 5, 12),
            id="digest",
        ),
        pytest.param(
            f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/02/03/"
            f"{ACCOUNT}_CloudTrail-Digest_eu-west-1_audit_eu-central-1_20260203T100512Z_backfill.json.gz",
            Folder.DIGEST,
            utc(2026, 2, 3, 10, 5, 12),
            id="backfill digest",
        ),
        pytest.param(
            f"AWSLogs/{ACCOUNT}/CloudTrail-NetworkActivity/eu-west-1/2026/02/03/whatever.json.gz",
            Folder.NETWORK_ACTIVITY,
            None,
            id="network activity",
        ),
        pytest.param(
            f"AWSLogs/{ACCOUNT}/CloudTrail-Aggregated/eu-west-1/2026/02/03/whatever.json.gz",
            Folder.AGGREGATED,
            None,
            id="aggregated",
        ),
    ],
)
def test_other_folders_are_told_apart(key: str, folder: Folder, stamp: datetime | None) -> None:
    parsed = parse_key(key)
    assert parsed is not None
    assert (parsed.folder, parsed.account_id, parsed.region, parsed.stamp) == (folder, ACCOUNT, "eu-west-1", stamp)
    assert log_file("b", key) is None


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="nothing"),
        pytest.param(f"AWSLogs/{DAY}/", id="folder"),
        pytest.param(f"AWSLogs/{DAY}/notes.txt", id="another file"),
        pytest.param(f"AWSLogs/{DAY}/{NAME}.tmp", id="copy in progress"),
        pytest.param(f"AWSLogs/{DAY}/{NAME[:-3]}", id="unpacked"),
        pytest.param(f"awslogs/{DAY}/{NAME}", id="AWSLogs in lower case"),
        pytest.param(f"xAWSLogs/{DAY}/{NAME}", id="folder that ends in AWSLogs"),
        pytest.param(f"/AWSLogs/{DAY}/{NAME}", id="leading slash"),
        pytest.param(f"AWSLogs/{DAY}/{NAME}\n", id="line end"),
        pytest.param(f"AWSLogs/{DAY}/extra/{NAME}", id="folder too many"),
        pytest.param(f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/02/{NAME}", id="no day"),
        pytest.param(f"AWSLogs/O-ABC/{DAY}/{NAME}", id="no organization id"),
        pytest.param(f"AWSLogs/{ACCOUNT}/CloudTrail-Other/eu-west-1/2026/02/03/{NAME}", id="unknown folder"),
        pytest.param(f"AWSLogs/{ACCOUNT}/CloudTrail-Insight/eu-west-1/2026/02/03/{NAME}", id="log among Insights"),
        pytest.param(f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/02/03/{NAME}", id="log among digests"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('_CloudTrail_', '_CloudTrail-Insight_')}", id="Insight among logs"),
        pytest.param(
            f"AWSLogs/{DAY}/{ACCOUNT}_CloudTrail-Digest_eu-west-1_audit_eu-central-1_20260203T100512Z.json.gz",
            id="digest among logs",
        ),
        pytest.param(f"AWSLogs/{DAY.replace(ACCOUNT, OTHER_ACCOUNT)}/{NAME}", id="accounts differ"),
        pytest.param(f"AWSLogs/{DAY.replace('eu-west-1', 'eu-west-2')}/{NAME}", id="Regions differ"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('T1000Z', 'T2460Z')}", id="no such time"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T', '20260231T')}", id="no such day"),
        pytest.param(f"AWSLogs/{DAY}/{FOREIGN_DIGIT}", id="digit of another script"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T', '20200101T')}", id="in the folder of another day"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T1000', '20260204T0100')}", id="an hour behind midnight"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T1000', '20260202T2259')}", id="an hour before midnight"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T1000', '00010101T0000')}", id="at the begin of time"),
        pytest.param(f"AWSLogs/{DAY}/{NAME.replace('20260203T1000', '99991231T2359')}", id="at the end of time"),
    ],
)
def test_what_is_no_log_file(key: str) -> None:
    assert log_file("b", key) is None
    assert stamps_of(REGION_FOLDER, ACCOUNT, "eu-west-1")(key) is None
    assert log_files_of("b", REGION_FOLDER, ACCOUNT, "eu-west-1")(key, 17, "e1") is None


@pytest.mark.parametrize("stamp", ["20260203T0000", "20260203T2359", "20260204T0059", "20260202T2300"])
def test_around_midnight_folder_or_stamp_may_be_ahead(stamp: str) -> None:
    key = f"AWSLogs/{DAY}/{NAME.replace('20260203T1000', stamp)}"
    found = log_file("b", key)
    assert found is not None
    assert f"{found.delivered_at:%Y%m%dT%H%M}" == stamp
    assert stamps_of(REGION_FOLDER, ACCOUNT, "eu-west-1")(key) == found.delivered_at
    assert log_files_of("b", REGION_FOLDER, ACCOUNT, "eu-west-1")(key, None, None) == found


@pytest.mark.parametrize(
    ("location", "root"),
    [
        pytest.param(TrailLocation("b"), "AWSLogs/", id="no prefix"),
        pytest.param(TrailLocation("b", None), "AWSLogs/", id="None"),  # type: ignore[arg-type]
        pytest.param(TrailLocation("b", "audit"), "audit/AWSLogs/", id="prefix"),
        pytest.param(TrailLocation("b", "/a/b/"), "a/b/AWSLogs/", id="slashes at its ends do not count"),
    ],
)
def test_root_of_a_trail(location: TrailLocation, root: str) -> None:
    assert location.root == root


def test_prefix_that_is_no_text() -> None:
    with pytest.raises(ValueError, match="prefix=7 is no text; write what comes before AWSLogs/"):
        TrailLocation("b", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("bucket", ["example-trail", "file:///srv/copy"])
def test_uri_of_a_log_file_is_read_back(bucket: str) -> None:
    found = log_file(bucket, key_of())
    assert found is not None
    assert log_file_of_uri(found.uri) == found


def test_uri_that_names_no_log_file() -> None:
    with pytest.raises(KeyGrammarError, match=r"s3://b/notes\.txt is not a CloudTrail log file; expected s3://bucket/"):
        log_file_of_uri("s3://b/notes.txt")
