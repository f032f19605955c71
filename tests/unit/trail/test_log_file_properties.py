from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_cloudtrail.trail.day_folders import first_key, is_behind
from airflow_provider_cloudtrail.trail.log_file import (
    Folder,
    log_file,
    log_file_of_uri,
    log_files_of,
    parse_key,
    stamps_of,
)
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError, split_uri

minutes = st.datetimes(datetime(2013, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(second=0, microsecond=0, tzinfo=timezone.utc)
)
MIDNIGHT = datetime(2026, 2, 3, tzinfo=timezone.utc)
accounts = st.from_regex(r"[0-9]{12}", fullmatch=True) | st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)
regions = st.from_regex(r"[a-z]{2}(-gov|-iso[a-f]?)?-[a-z]{4,9}-[1-9]", fullmatch=True)
organizations = st.none() | st.from_regex(r"o-[a-z0-9]{10,32}", fullmatch=True)
prefixes = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\n"), min_size=1), max_size=3).map(
    "/".join
)
uniques = st.from_regex(r"_?[A-Za-z0-9]{16}", fullmatch=True)
pieces = st.sampled_from([
    "AWSLogs", "/", "111122223333", "CloudTrail", "CloudTrail-Digest", "CloudTrail-Insight", "o-abc", "eu-west-1",
    "2026/02/03", "_", "20260203T1000Z", "20269999T9999Z", "Q1w2E3r4T5y6U7i8", ".json.gz", "s3://", "file://",
    "b", "?", "#",
])  # fmt: skip
nearly_keys = st.lists(pieces | st.text(max_size=3), max_size=20).map("".join)


def folder_of(prefix: str, organization: str | None, account: str, region: str) -> str:
    parts = [*([prefix] if prefix else []), "AWSLogs", *([organization] if organization else [])]
    return "/".join([*parts, account, "CloudTrail", region, ""])


@given(prefixes, organizations, accounts, regions, minutes, uniques)
def test_what_cloudtrail_writes_is_read_back(
    prefix: str, organization: str | None, account: str, region: str, stamp: datetime, unique: str
) -> None:
    folder = folder_of(prefix, organization, account, region)
    key = f"{folder}{stamp:%Y/%m/%d}/{account}_CloudTrail_{region}_{stamp:%Y%m%dT%H%MZ}{unique}.json.gz"
    parsed = parse_key(key)
    assert parsed is not None
    assert parsed == type(parsed)(Folder.LOG, account, region, stamp, prefix, organization)
    found = log_file("example-trail", key)
    assert found is not None
    assert (found.account_id, found.region, found.delivered_at) == (account, region, stamp)
    assert log_file_of_uri(found.uri) == found


@given(prefixes, accounts, regions, minutes, minutes, st.sampled_from([0, -59, 60]), uniques)
@example("", "1", "eu-west-1", MIDNIGHT, MIDNIGHT, -59, "_x")
@example("", "1", "eu-west-1", MIDNIGHT - timedelta(minutes=60), MIDNIGHT - timedelta(minutes=59), 60, "_x")
def test_listing_from_the_first_key_to_the_first_behind_holds_the_window(
    prefix: str, account: str, region: str, stamp: datetime, bound: datetime, ahead: int, unique: str
) -> None:
    folder = folder_of(prefix, None, account, region)
    # Around midnight the folder may be that of the day before, or of the next one.
    day = stamp + timedelta(minutes=ahead)
    key = f"{folder}{day:%Y/%m/%d}/{account}_CloudTrail_{region}_{stamp:%Y%m%dT%H%MZ}{unique}.json.gz"
    assert log_file("b", key) is not None
    if stamp >= bound:
        assert key > first_key(folder, account, region, bound)
    else:
        assert not is_behind(key, folder, bound)


@given(st.text() | nearly_keys)
def test_any_text_is_a_key_or_is_none(text: str) -> None:
    parsed = parse_key(text)
    found = log_file("b", text)
    if found is not None:
        assert parsed is not None
        assert parsed.folder is Folder.LOG
        assert found.account_id in text


names = st.builds(
    "{}/{}_CloudTrail_{}_{}{}".format,
    st.sampled_from(["2026/02/03", "2026/2/3", "2026/02/03/x/AWSLogs/1/CloudTrail/eu-west-1/2026/02/03"]),
    st.sampled_from(["111122223333", "1", "x_y"]),
    st.sampled_from(["eu-west-1", "us-east-1", "eu_west"]),
    st.sampled_from(["20260203T1000Z", "20269999T9999Z", "20260203T10Z"]),
    st.sampled_from([
        "_Q1w2E3r4T5y6U7i8.json.gz",
        "Q1.json.gz",
        "_.json.gz",
        ".json.gz",
        "_Q1.json.gz/x",
        "_Q\n.json.gz",
    ]),
)


@given(
    prefixes | st.sampled_from(["AWSLogs/1/CloudTrail", "a\nb", "+"]),
    organizations,
    accounts | st.sampled_from(["111122223333", "x_y"]),
    regions | st.sampled_from(["eu-west-1", "eu_west"]),
    st.lists(names | nearly_keys),
)
def test_the_keys_of_a_folder_are_read_as_all_keys_are(
    prefix: str, organization: str | None, account: str, region: str, ends: list[str]
) -> None:
    folder = folder_of(prefix, organization, account, region)
    stamp_of, file_of = stamps_of(folder, account, region), log_files_of("b", folder, account, region)
    for key in (*(folder + end for end in ends), *ends):
        found = log_file("b", key, 17, "e1")
        assert file_of(key, 17, "e1") == found
        assert stamp_of(key) == (found.delivered_at if found is not None else None)


@given(st.text() | nearly_keys)
@example("s3://[b]/k")
@example("A://[")
@example("s3://b\n/k")
def test_any_text_is_a_uri_or_is_refused(text: str) -> None:
    try:
        bucket, key = split_uri(text)
    except KeyGrammarError:
        assert not re.fullmatch(r"s3://[A-Za-z0-9.-]+/.+", text, re.DOTALL)
    else:
        assert bucket
        assert key
