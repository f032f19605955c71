"""
One signed digest: what its key says, and what it says of itself and of the log files that it lists.

Source: AWS CloudTrail user guide, "CloudTrail digest file structure". A digest lists the log files that
were delivered in about an hour to one account and Region, with their SHA-256, and names the digest before
it. Its signature lies in the S3 metadata of the object, and once more in the next digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import MINYEAR, datetime, timedelta
from typing import NamedTuple

from airflow_provider_cloudtrail.trail.log_file import Folder, parse_key

HOUR = timedelta(hours=1)
"""What a digest covers."""


@dataclass(frozen=True, order=True, slots=True)
class Chain:
    """
    Digests that follow on one another.

    :param account_id: account whose log files they list.
    :param region: Region of these log files; it signs the digests.
    :param trail_name: trail that delivers; trails can share a bucket.
    :param home_region: Region that the trail was made in.
    :param backfill: whether these list what the ordinary digests missed.
    """

    account_id: str
    region: str
    trail_name: str
    home_region: str
    backfill: bool = False

    def __str__(self) -> str:
        return f"{self.account_id} {self.region} (trail {self.trail_name}{', backfill' if self.backfill else ''})"


@dataclass(frozen=True, slots=True)
class DigestKey:
    """
    What the key of a digest says.

    :param end: end of the time that it covers, UTC.
    :param bucket: bucket that it lies in; None: the one that the trail delivers to now.
    :param etag: ETag as listed, without quotes; None if it was not listed.
    """

    key: str
    chain: Chain
    end: datetime
    bucket: str | None = None
    etag: str | None = field(default=None, compare=False)


class ListedFiles(NamedTuple):
    """
    The log files that a digest lists, column by column.

    One object for each of them would have the garbage collector look at all of them again and again.

    :param buckets: where they were delivered to.
    :param keys: their keys there.
    :param sha256: SHA-256 (hex) of what is in them.
    """

    buckets: tuple[str, ...]
    keys: tuple[str, ...]
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Digest:
    """
    The contents of a digest; the names are those of the document.

    :param sha256: SHA-256 (hex) of its uncompressed bytes.
    """

    start: datetime
    end: datetime
    end_text: str
    bucket: str
    key: str
    fingerprint: str
    previous_bucket: str | None
    previous_key: str | None
    previous_sha256: str | None
    previous_signature: str | None
    files: ListedFiles
    sha256: str

    @property
    def signed_text(self) -> bytes:
        """What the signature covers; a starting digest has the word null in place of the signature before it."""
        return "\n".join((
            self.end_text,
            f"{self.bucket}/{self.key}",
            self.sha256,
            "null" if self.previous_signature is None else self.previous_signature,
        )).encode()


@dataclass(frozen=True)
class Fault:
    """
    What is wrong with a digest.

    :param code: one word for it.
    :param message: what was found, for people.
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Verdict(NamedTuple):
    """
    What verifying a signature gave.

    :param fault: what is wrong, or None if CloudTrail signed exactly this digest.
    """

    fault: Fault | None


@dataclass(frozen=True)
class FetchedDigest:
    """
    A digest as it lies in the bucket, before anything is proven.

    :param digest: its contents; None if they cannot be read.
    :param signature: its signature (hex) in the metadata; None if these were lost.
    :param generated_at: when a backfill digest was made; it is signed with a key of that time.
    :param fault: what is wrong with it whatever its signature says.
    :param verdict: on its own signature; None: it was not verified yet.
    """

    key: DigestKey
    digest: Digest | None
    signature: str | None = None
    generated_at: datetime | None = None
    fault: Fault | None = None
    verdict: Verdict | None = None


def digest_key(key: str) -> DigestKey | None:
    """Return what the key of a digest says, or None if it is not one of a digest."""
    parsed = parse_key(key)
    if parsed is None or parsed.folder is not Folder.DIGEST or parsed.stamp is None:
        return None
    if parsed.stamp.year == MINYEAR:
        # There may be no hour that it could cover.
        return None
    stem = key.rpartition("/")[2].removesuffix(".json.gz")
    backfill = stem.endswith("_backfill")
    # Trail names may contain underscores, Regions and account ids do not.
    names, home_region, _ = stem.removesuffix("_backfill").rsplit("_", 2)
    trail_name = names.removeprefix(f"{parsed.account_id}_CloudTrail-Digest_{parsed.region}_")
    return DigestKey(key, Chain(parsed.account_id, parsed.region, trail_name, home_region, backfill), parsed.stamp)
