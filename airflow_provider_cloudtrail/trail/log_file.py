"""
The grammar of CloudTrail's object keys, and what a key says about a log file.

Source: AWS CloudTrail user guide, "Getting and viewing your CloudTrail log files" and "CloudTrail digest
file structure". The stamp in a name and the date folders are the time of *delivery* in UTC, to the
minute; the events inside may be older, and keys do not arrive in the order of their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import cached_property, lru_cache
from typing import Protocol

from airflow_provider_cloudtrail.trail.day_folders import lies_in
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError, object_uri, split_uri


class Folder(Enum):
    """The folders that CloudTrail keeps apart in a bucket."""

    LOG = "CloudTrail"
    DIGEST = "CloudTrail-Digest"
    INSIGHT = "CloudTrail-Insight"
    NETWORK_ACTIVITY = "CloudTrail-NetworkActivity"
    AGGREGATED = "CloudTrail-Aggregated"


@dataclass(frozen=True)
class TrailLocation:
    """
    Where a trail delivers to.

    :param bucket: name of the S3 bucket, or ``file://`` URI of a folder that holds a copy of one.
    :param prefix: log file prefix of the trail, without slashes at its ends; may contain slashes.
    :param organization_id: ``o-...`` when only the organization layout is wanted. None: both the
        account folders directly under ``AWSLogs/`` and those of every organization in it.
    :raises ValueError: if the prefix is no text.
    """

    bucket: str
    prefix: str = ""
    organization_id: str | None = None

    def __post_init__(self) -> None:
        # None is what an API or a template gives where there is no prefix.
        prefix = "" if self.prefix is None else self.prefix
        if not isinstance(prefix, str):
            raise ValueError(
                f"prefix={prefix!r} is no text; write what comes before AWSLogs/ in the keys, or leave it out"
            )
        object.__setattr__(self, "prefix", prefix.strip("/"))

    @property
    def root(self) -> str:
        """Key prefix of everything that CloudTrail writes here, ending in ``AWSLogs/``."""
        return f"{self.prefix}/AWSLogs/" if self.prefix else "AWSLogs/"


@dataclass(frozen=True)
class LogFile:
    """
    A log file, as its key and a listing describe it.

    :param bucket: name of the bucket, or ``file://`` URI of a local copy.
    :param key: key in the bucket.
    :param account_id: account in the key; digits in practice, but not by promise.
    :param region: Region in the key.
    :param delivered_at: stamp in the name, UTC.
    :param size_bytes: size of the object as listed, compressed; None if it was not listed.
    :param etag: ETag as listed, without quotes; None if it was not listed.
    """

    bucket: str
    key: str
    account_id: str
    region: str
    delivered_at: datetime
    size_bytes: int | None = None
    etag: str | None = None

    # Asked for several times of each file.
    @cached_property
    def uri(self) -> str:
        """``s3://bucket/key``; ``file:///folder/key`` for a local copy."""
        return object_uri(self.bucket, self.key)


class Regional(Protocol):
    """What CloudTrail writes for one account and Region."""

    @property
    def account_id(self) -> str:
        """Return the account."""

    @property
    def region(self) -> str:
        """Return the Region."""


def is_of(written: Regional, account_ids: Container[str] | None, regions: Container[str] | None) -> bool:
    """Tell whether something is of one of these accounts and one of these Regions; None: of any."""
    return (account_ids is None or written.account_id in account_ids) and (regions is None or written.region in regions)


@dataclass(frozen=True)
class ParsedKey:
    """
    What a key of CloudTrail says.

    :param stamp: delivery time for log files, end of the covered hour for digests; UTC. None where the
        grammar of the name is not documented (network activity, aggregated).
    """

    folder: Folder
    account_id: str
    region: str
    stamp: datetime | None
    prefix: str
    organization_id: str | None


_DAY = r"(?P<day>\d{4}/\d{2}/\d{2})"
_KEY = re.compile(
    r"(?:(?P<prefix>.+)/)?AWSLogs/"
    r"(?:(?P<organization>o-[a-z0-9]+)/)?"
    r"(?P<account>[^/_]+)/"
    r"(?P<folder>CloudTrail(?:-Digest|-Insight|-NetworkActivity|-Aggregated)?)/"
    r"(?P<region>[A-Za-z0-9-]+)/"
    rf"{_DAY}/"
    r"(?P<name>[^/]+)",
    re.ASCII,
)
# A documented name of 2014 has no underscore before the random characters.
_LOG_STAMP = r"(?P<stamp>\d{8}T\d{4}Z)_?\w+\.json\.gz"
_LOG_NAME = re.compile(
    rf"(?P<account>[^/_]+)_(?P<kind>CloudTrail|CloudTrail-Insight)_(?P<region>[A-Za-z0-9-]+)_{_LOG_STAMP}", re.ASCII
)
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""What neither a request nor a warehouse takes: control characters, halves of surrogate pairs."""

_FOLDERS = {folder.value: folder for folder in Folder}
_DIGEST_NAME = re.compile(
    r"(?P<account>[^/_]+)_CloudTrail-Digest_(?P<region>[A-Za-z0-9-]+)_(?P<trail>.+)_(?P<home>[A-Za-z0-9-]+)_"
    r"(?P<stamp>\d{8}T\d{6}Z)(?P<backfill>_backfill)?\.json\.gz",
    re.ASCII,
)


def parse_key(key: str) -> ParsedKey | None:
    """
    Read a key of CloudTrail.

    :param key: key of an object in a trail bucket.
    :return: what it says, or None if CloudTrail does not write such keys.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    folder = _FOLDERS[found["folder"]]
    stamp: datetime | None = None
    if folder in (Folder.LOG, Folder.INSIGHT):
        name = _LOG_NAME.fullmatch(found["name"])
        if name is None or name["kind"] != folder.value:
            return None
        stamp = _stamp(name["stamp"])
    elif folder is Folder.DIGEST:
        name = _DIGEST_NAME.fullmatch(found["name"])
        if name is None:
            return None
        stamp = _stamp(name["stamp"])
    else:
        name = None
    if name is not None and (stamp is None or name["account"] != found["account"] or name["region"] != found["region"]):
        return None
    if folder is not Folder.DIGEST and stamp is not None and not lies_in(found["day"], stamp):
        return None
    return ParsedKey(folder, found["account"], found["region"], stamp, found["prefix"] or "", found["organization"])


def log_file(bucket: str, key: str, size_bytes: int | None = None, etag: str | None = None) -> LogFile | None:
    """
    Return the log file of a key, or None if the key is not one of a log file.

    Digests, Insights, network activity and aggregated events have folders of their own and are none.
    """
    parsed = parse_key(key)
    if parsed is None or parsed.folder is not Folder.LOG or parsed.stamp is None:
        return None
    return LogFile(bucket, key, parsed.account_id, parsed.region, parsed.stamp, size_bytes, etag)


def log_files_of(
    bucket: str, region_folder: str, account_id: str, region: str
) -> Callable[[str, int | None, str | None], LogFile | None]:
    """
    Return what gives the log file of a key, its size and its ETag, or None for what is none.

    It says the same as :func:`log_file`, for keys of a Region's folder in a fraction of the time: within it only the
    ends of keys differ.

    :param region_folder: ``.../ACCOUNT/CloudTrail/REGION/``.
    """
    usual = _usual_stamps(region_folder, account_id, region)

    def file(key: str, size_bytes: int | None = None, etag: str | None = None) -> LogFile | None:
        delivered_at = usual(key)
        if delivered_at is None:
            return log_file(bucket, key, size_bytes, etag)
        return LogFile(bucket, key, account_id, region, delivered_at, size_bytes, etag)

    return file


def stamps_of(region_folder: str, account_id: str, region: str) -> Callable[[str], datetime | None]:
    """
    Return what tells the stamp of a log file by its key, or None for what is none, as :func:`log_files_of` does.

    :param region_folder: ``.../ACCOUNT/CloudTrail/REGION/``.
    """
    usual = _usual_stamps(region_folder, account_id, region)

    def stamp(key: str) -> datetime | None:
        delivered_at = usual(key)
        if delivered_at is None and (parsed := log_file("", key)) is not None:
            return parsed.delivered_at
        return delivered_at

    return stamp


def _usual_stamps(region_folder: str, account_id: str, region: str) -> Callable[[str], datetime | None]:
    """Return what tells the stamps of a Region's folder, or None for keys that have to be looked at more closely."""
    names = f"/{account_id}_CloudTrail_{region}_"
    if log_file("", f"{region_folder}2014/02/03{names}20140203T0000Z_x.json.gz") is None:
        return lambda _: None
    matches = re.compile(f"{re.escape(region_folder)}{_DAY}{re.escape(names)}{_LOG_STAMP}", re.ASCII).fullmatch

    # Files share their minutes.
    @lru_cache(maxsize=64)
    def lying_in(day: str, text: str) -> datetime | None:
        delivered_at = _stamp(text)
        return delivered_at if delivered_at is not None and lies_in(day, delivered_at) else None

    def stamp(key: str) -> datetime | None:
        found = matches(key)
        return lying_in(*found.groups()) if found is not None else None

    return stamp


def log_file_of_uri(uri: str) -> LogFile:
    """
    Return the log file that a URI names.

    :param uri: ``s3://bucket/key`` or ``file:///folder/AWSLogs/...``.
    :raises KeyGrammarError: if it is no URI of a log file.
    """
    bucket, key = split_uri(uri)
    found = log_file(bucket, key)
    if found is None:
        raise KeyGrammarError(
            f"{uri} is not a CloudTrail log file; expected "
            "s3://bucket/[prefix/]AWSLogs/[o-.../]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/"
            "ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_<characters>.json.gz"
        )
    return found


def _stamp(text: str) -> datetime | None:
    """Read ``YYYYMMDDTHHMMZ`` or ``YYYYMMDDTHHMMSSZ``; strptime would take ten times as long, for every key."""
    day, clock = int(text[:8]), text[9:-1]
    seconds = int(clock[4:] or 0)
    try:
        return datetime(
            day // 10_000, day // 100 % 100, day % 100, int(clock[:2]), int(clock[2:4]), seconds, tzinfo=timezone.utc
        )
    except ValueError:
        return None
