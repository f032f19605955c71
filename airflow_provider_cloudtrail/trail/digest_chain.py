"""
Digests held against one another: each against the one before, and all of them against the clock.

A digest is proven by its own signature, or, where a copy has lost the metadata that hold it, by the
signature that the next digest repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from airflow_provider_cloudtrail.trail.digest import HOUR, Chain, Digest, DigestKey, Fault, FetchedDigest, digest_key
from airflow_provider_cloudtrail.trail.digest_signature import own_signature_fault, signature_fault
from airflow_provider_cloudtrail.trail.public_keys import KeyRing

TOLERANCE = timedelta(seconds=60)
"""Time between two digests that is no gap."""

_Value = TypeVar("_Value")

_REMEMBERED = 64
_FARTHEST_BACK = 24 * 366


class DigestStatus(Enum):
    """What is known of a digest."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    """Another digest names it, and it is not in the bucket."""


class Proof(Enum):
    """What proves a digest."""

    OWN_SIGNATURE = "own_signature"
    NEXT_DIGEST = "next_digest"


@dataclass(frozen=True)
class CheckedDigest:
    """
    A digest and the verdict on it.

    :param start: begin of the time that it covers, UTC; of an unreadable digest an hour before its end.
    :param end: end of that time.
    :param digest: its contents; None if it is missing or cannot be read. Believe them only if it is valid.
    :param fault: why it is not valid.
    """

    key: DigestKey
    start: datetime
    end: datetime
    status: DigestStatus
    digest: Digest | None = None
    fault: Fault | None = None
    proof: Proof | None = None

    @property
    def valid(self) -> bool:
        """Whether CloudTrail wrote it, just so and just here."""
        return self.status is DigestStatus.VALID


@dataclass
class _Known:
    """What is remembered of a digest for those behind it."""

    sha256: str | None
    signature: str | None
    valid: bool


class ChainVerifier:
    """
    Verifies one chain, from its oldest digest to its newest.

    :param ring: the public keys.
    :param fetch: returns the digest of a key, or None if it is not there; for digests that are named by
        another one, but not among those given (the trail's prefix or bucket may have changed).
    :param floor: begin of the window; nobody asks for digests before it.
    """

    def __init__(self, ring: KeyRing, fetch: Callable[[DigestKey], FetchedDigest | None], floor: datetime) -> None:
        self._ring = ring
        self._fetch = fetch
        self._floor = floor
        self._known: dict[str, _Known] = {}
        self._arrived: dict[str, None] = {}

    def check(self, fetched: Iterable[FetchedDigest]) -> Iterator[CheckedDigest]:
        """
        Yield the verdicts.

        :param fetched: the digests in the order of their ends.
        """
        waiting: FetchedDigest | None = None
        for found in self._with_named(fetched):
            if isinstance(found, CheckedDigest):
                if waiting is not None:
                    yield self._verdict(waiting, None)
                    waiting = None
                yield found
                continue
            if waiting is not None:
                yield self._verdict(waiting, found)
            waiting = found
        if waiting is not None:
            yield self._verdict(waiting, None)

    # -- what belongs to the chain -----------------------------------------------------------------

    def _with_named(self, fetched: Iterable[FetchedDigest]) -> Iterator[FetchedDigest | CheckedDigest]:
        for found in fetched:
            yield from self._named_before(found)
            yield self._arrive(found)

    def _named_before(self, found: FetchedDigest) -> Iterator[FetchedDigest | CheckedDigest]:
        """Yield the digests that lie before this one and were not given, the oldest first."""
        back: list[FetchedDigest | CheckedDigest] = []
        while len(back) < _FARTHEST_BACK and (name := self._previous_in_window(found)) is not None:
            previous = self._fetch(name)
            if previous is None:
                where = f", in the bucket {name.bucket}" if name.bucket is not None else ""
                fault = Fault("not_found", f"{found.key.key} names it as the digest before itself{where}")
                back.append(CheckedDigest(name, name.end - HOUR, name.end, DigestStatus.MISSING, fault=fault))
                self._remember(self._arrived, name.key, None)
                break
            back.append(previous)
            found = previous
        for earlier in reversed(back):
            yield earlier if isinstance(earlier, CheckedDigest) else self._arrive(earlier)

    def _previous_in_window(self, found: FetchedDigest) -> DigestKey | None:
        """Return the digest that this one names, if it can matter, has not come, and this one can be believed."""
        digest = found.digest
        if digest is None or digest.previous_key is None or found.fault is not None or digest.start <= self._floor:
            return None
        name = digest_key(digest.previous_key)
        if name is None or name.key in self._arrived or name.chain != found.key.chain or name.end >= found.key.end:
            return None
        if found.signature is not None and own_signature_fault(found, self._ring) is not None:
            return None
        if digest.previous_bucket == digest.bucket:
            return replace(name, bucket=found.key.bucket)
        # What nobody has signed does not send this program to the bucket of whom it likes.
        return replace(name, bucket=digest.previous_bucket) if found.signature is not None else None

    def _arrive(self, found: FetchedDigest) -> FetchedDigest:
        self._remember(self._arrived, found.key.key, None)
        return found

    # -- the verdict -------------------------------------------------------------------------------

    def _verdict(self, found: FetchedDigest, following: FetchedDigest | None) -> CheckedDigest:
        fault, proof = self._own_fault(found, following)
        if fault is None:
            fault = self._chain_fault(found)
        digest, key = found.digest, found.key
        sha256 = digest.sha256 if digest is not None else None
        self._remember(self._known, key.key, _Known(sha256, found.signature, fault is None))
        # The contents of what is not proven are not believed in the times that they claim either.
        start = digest.start if digest is not None and fault is None else key.end - HOUR
        if fault is not None:
            return CheckedDigest(key, start, key.end, DigestStatus.INVALID, digest, fault)
        return CheckedDigest(key, start, key.end, DigestStatus.VALID, digest, None, proof)

    def _own_fault(self, found: FetchedDigest, following: FetchedDigest | None) -> tuple[Fault | None, Proof | None]:
        if found.fault is not None:
            return found.fault, None
        if found.signature is not None:
            return own_signature_fault(found, self._ring), Proof.OWN_SIGNATURE
        named = following.digest if following is not None else None
        if named is None or named.previous_key != found.key.key or named.previous_signature is None:
            lost = "its metadata with the signature are lost, and no later digest repeats it"
            return Fault("no_signature", lost), None
        fault = signature_fault(found, named.previous_signature, self._ring)
        if fault is not None and self._vouched(found, following):
            fault = None
        return fault, Proof.NEXT_DIGEST

    def _vouched(self, found: FetchedDigest, following: FetchedDigest | None) -> bool:
        """Tell whether a digest with a good signature of its own has the hash of this one."""
        return (
            following is not None
            and following.digest is not None
            and found.digest is not None
            and following.fault is None
            and following.signature is not None
            and following.digest.previous_sha256 == found.digest.sha256
            and own_signature_fault(following, self._ring) is None
        )

    def _chain_fault(self, found: FetchedDigest) -> Fault | None:
        """Return how a digest contradicts the valid digest that it names as the one before."""
        digest = found.digest
        if digest is None or digest.previous_key is None:
            return None
        previous = self._known.get(digest.previous_key)
        if previous is None or not previous.valid:
            return None
        if digest.previous_sha256 != previous.sha256:
            return Fault("broken_chain", f"the digest before it, {digest.previous_key}, has another hash than it says")
        if previous.signature is not None and digest.previous_signature != previous.signature:
            return Fault(
                "broken_chain", f"the digest before it, {digest.previous_key}, has another signature than it says"
            )
        return None

    @staticmethod
    def _remember(memory: dict[str, _Value], key: str, value: _Value) -> None:
        memory[key] = value
        while len(memory) > _REMEMBERED:
            del memory[next(iter(memory))]


@dataclass(frozen=True)
class Gap:
    """
    A time that no digest of a chain covers.

    :param reason: what is known about it, for people.
    """

    chain: Chain
    start: datetime
    end: datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.chain}: no digest from {self.start.isoformat()} to {self.end.isoformat()}, {self.reason}"


class Coverage:
    """
    Which time of a window the digests of a chain cover.

    :param start: begin of the window, UTC.
    :param end: its end.
    :param due: up to where digests must be there; what is later may still be delivered.
    :param expected: whether the chain had digests before the window.
    :param recorded: whether an earlier run saw digests of it in the window.
    """

    def __init__(
        self, chain: Chain, start: datetime, end: datetime, due: datetime, *, expected: bool, recorded: bool = False
    ) -> None:
        self.chain = chain
        self._end = end
        self._due = min(due, end)
        self._expected = expected
        self._recorded = recorded
        self._reached = start
        self._begun = False
        self.began_at: datetime | None = None
        """Begin of a chain that is new in this window."""

    def add(self, checked: CheckedDigest) -> Gap | None:
        """Count a digest in, and return the gap before it. Digests are added in the order of their ends."""
        if checked.status is DigestStatus.MISSING:
            return None
        first, self._begun = not self._begun, True
        starting = checked.valid and checked.digest is not None and checked.digest.previous_key is None
        gap = None
        # Digests follow on one another within seconds, unless logging was stopped: that is exact.
        tolerance = timedelta(0) if starting and not first else TOLERANCE
        if checked.start > self._reached + tolerance and self._reached < self._end:
            if first and starting and not self._expected:
                self.began_at = checked.start
            else:
                why = "logging or log file validation was off before" if starting else "although a later digest exists"
                gap = Gap(self.chain, self._reached, min(checked.start, self._end), why)
        self._reached = max(self._reached, checked.end)
        return gap

    def rest(self) -> Gap | None:
        """Return the gap at the end, of what is due."""
        if not self.begun_or_expected:
            return None
        if self._reached + TOLERANCE >= self._due:
            return None
        why = "the newest are missing" if self._begun else "none at all, unlike in the days before"
        return Gap(self.chain, self._reached, self._due, why)

    @property
    def begun_or_expected(self) -> bool:
        """Whether it matters that the window is covered: the chain has digests in it, or had them before."""
        return self._begun or self._expected or self._recorded

    @property
    def covers_all(self) -> bool:
        """Whether the window is covered to its end, beyond what is due."""
        return self._reached + TOLERANCE >= self._end
