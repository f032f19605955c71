"""Trails that were damaged one by one, and what we find in each that the client of AWS does not report."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from tests.support.signed_trail import FIRST, HOUR, LAST, WINDOW, Hour, SignedTrail, signing_key

MIDDLE = 6
Damage = Callable[[SignedTrail], Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """
    A damaged trail.

    :param build: what is done to its hours before they are signed.
    :param damage: what is done to its objects afterwards.
    :param stricter: rules of ours that find something in it that the client does not report.
    """

    damage: Damage = lambda trail: None
    build: Damage = lambda trail: None
    keys: Callable[[SignedTrail], list[PublicKey]] = SignedTrail.public_keys
    stricter: frozenset[str] = frozenset()


CASES: dict[str, Case] = {"untouched": Case()}


def case(name: str, damage: Damage = lambda trail: None, *stricter: str, **others: Any) -> None:
    CASES[name] = Case(damage, stricter=frozenset(stricter), **others)


SECOND_MEMBER = gzip.compress(b'{"Records":[]}', mtime=0)
ALTERATIONS: dict[str, Callable[[SignedTrail, str], None]] = {
    "byte-flipped": SignedTrail.flip,
    "byte-flipped-in-the-stream": SignedTrail.flip_raw,
    "second-gzip-member": lambda trail, key: trail.append(key, SECOND_MEMBER),
    "leftover-bytes": lambda trail, key: trail.append(key, b"\0padding"),
    "truncated": lambda trail, key: trail.replace(key, trail.objects[key].body[:-20]),
    "not-gzip": lambda trail, key: trail.replace(key, gzip.decompress(trail.objects[key].body)),
    "empty": lambda trail, key: trail.replace(key, b""),
    "another-document": lambda trail, key: trail.replace(key, SECOND_MEMBER),
    "deleted": lambda trail, key: trail.delete(key),
}
for what, alter in ALTERATIONS.items():
    for place, number in {"first": FIRST, "middle": MIDDLE, "last": LAST}.items():
        case(f"log-{what}-{place}", lambda trail, alter=alter, number=number: alter(trail, trail.logs(number)[0]))
for what, alter in ALTERATIONS.items():
    for place, number in {"first": FIRST, "middle": MIDDLE, "last": LAST}.items():
        # What only an unreadable digest lists, nobody lists; the files of the first were delivered just before the
        # window, so that its own run may have been too early to judge them.
        stricter = {"unlisted"}
        if what in ("second-gzip-member", "leftover-bytes"):
            # The client reads the first member of a digest and ignores what follows.
            stricter.add("invalid_format")
        elif what == "deleted":
            stricter.add("gap")
            if place == "last":
                # The client begins with the newest digest that is there, and does not ask for newer ones.
                stricter.add("missing")
        case(
            f"digest-{what}-{place}",
            lambda trail, alter=alter, number=number: alter(trail, trail.digests[number]),
            *stricter,
        )
for place, number in {"first": FIRST, "middle": MIDDLE, "last": LAST}.items():
    case(f"wrong-signature-{place}", lambda trail, number=number: trail.sign(trail.digests[number], "5a" * 256))
case("signature-no-hex", lambda trail: trail.sign(trail.digests[MIDDLE], "signature"))
case(
    "signature-of-another",
    lambda trail: trail.sign(trail.digests[MIDDLE], trail.objects[trail.digests[MIDDLE + 1]].metadata["signature"]),
)
case("two-digests-in-a-row-deleted", lambda trail: trail.delete(*trail.digests[MIDDLE : MIDDLE + 2]), "gap", "unlisted")
case("newest-three-digests-deleted", lambda trail: trail.delete(*trail.digests[LAST - 2 :]), "gap", "unlisted")
case("all-digests-deleted", lambda trail: trail.delete(*trail.digests), "gap", "unlisted", "no-digest")
case(
    "digest-moved-to-another-hour",
    lambda trail: trail.move(trail.digests[MIDDLE], trail.digest_key(Hour(trail.hours[MIDDLE].start + HOUR / 2))),
    # The client finds it missing where it was, and does not look at where it is now; half an hour is not covered.
    "moved",
    "gap",
)
case(
    "digest-moved-away",
    lambda trail: trail.move(trail.digests[MIDDLE], f"somewhere/{trail.digests[MIDDLE]}"),
    "gap",
    "unlisted",
)
case(
    "digest-in-the-place-of-another",
    lambda trail: trail.objects.update({trail.digests[MIDDLE]: trail.objects[trail.digests[MIDDLE + 1]]}),
    "unlisted",
)
case(
    "digests-of-another-bucket",
    lambda trail: None,
    # Those before the window, which are reported by its own run, vouch for nothing that was delivered just before it.
    "unlisted",
    build=lambda trail: [hour.document.update(digestS3Bucket="other") for hour in trail.hours],
)


def change_previous_signature(trail: SignedTrail) -> None:
    key = trail.digests[MIDDLE]
    before = trail.objects[trail.digests[MIDDLE - 1]].metadata["signature"].encode()
    content = gzip.decompress(trail.objects[key].body)
    trail.replace(key, gzip.compress(content.replace(before, b"5a" * 256)))


case("previous-signature-changed", change_previous_signature)
for name in ("previousDigestSignature", "previousDigestHashValue"):
    # Signed all the same: the client never compares a digest with what the next one says of it.
    case(
        f"{name}-wrong-and-signed",
        lambda trail: None,
        "broken_chain",
        build=lambda trail, name=name: trail.hours[MIDDLE].document.update({name: "5a" * 32}),
    )
case(
    "digest-lists-nothing",
    lambda trail: None,
    "unlisted",
    build=lambda trail: trail.hours[MIDDLE].document.update(logFiles=[]),
)


def sign_with(*numbers: int) -> Damage:
    def build(trail: SignedTrail) -> None:
        for number in numbers:
            trail.hours[number].signed_by = 1

    return build


def only_first_key(trail: SignedTrail) -> list[PublicKey]:
    return [key for key in trail.public_keys() if key.fingerprint == signing_key(0).fingerprint]


case("unknown-key-middle", build=sign_with(MIDDLE), keys=only_first_key)
case("unknown-key-from-there-on", build=sign_with(*range(MIDDLE, 17)), keys=only_first_key)
case("rotated-key", build=sign_with(*range(MIDDLE, 17)))
case(
    "rotated-key-and-altered-log", lambda trail: trail.flip(trail.logs(MIDDLE)[1]), build=sign_with(*range(MIDDLE, 17))
)


def expired(until: timedelta) -> Callable[[SignedTrail], list[PublicKey]]:
    def keys(trail: SignedTrail) -> list[PublicKey]:
        first, second = signing_key(0), signing_key(1)
        return [
            PublicKey(first.fingerprint, first.public_key, WINDOW[0] + until),
            PublicKey(second.fingerprint, second.public_key),
        ]

    return keys


case("expired-key-days-ago", lambda trail: None, "unlisted", keys=expired(timedelta(days=-3)))
# The client takes any key that the API lists for the window, also for digests after its end.
case("expired-key-within-the-window", lambda trail: None, "expired_key", keys=expired(2 * HOUR))


def starting(number: int, off: int = 0) -> Damage:
    def build(trail: SignedTrail) -> None:
        trail.hours[number].starting = True
        del trail.hours[number - off : number]

    return build


case("starting-digest-in-the-middle", build=starting(MIDDLE))
case("starting-digest-first", build=starting(FIRST))
case("logging-off-for-an-hour", lambda trail: None, "gap", build=starting(MIDDLE, 1))
case("logging-off-for-three-hours", lambda trail: None, "gap", build=starting(MIDDLE + 2, 3))
case("empty-hours", build=lambda trail: [hour.files.clear() for hour in trail.hours[MIDDLE : MIDDLE + 4]])
# One log file is left: a trail without any is no trail to load from.
case("all-hours-but-one-empty", build=lambda trail: [hour.files.clear() for hour in trail.hours[1:]])


def backfilled(trail: SignedTrail) -> None:
    for number in (MIDDLE, MIDDLE + 1, MIDDLE + 3):
        hour = Hour(trail.hours[number].start, backfill=True)
        trail.add_file(hour, hour.start + timedelta(minutes=25))
        trail.hours.append(hour)


case("backfill", build=backfilled)
case("backfill-signed-later", build=lambda trail: (backfilled(trail), sign_with(-1, -2, -3)(trail)))
# What is flipped is the name of the file that it lists.
case("backfill-digest-flipped", lambda trail: trail.flip(trail.backfills[1]), "unlisted", build=backfilled)
case("backfill-wrong-signature", lambda trail: trail.sign(trail.backfills[1], "5a" * 256), build=backfilled)
case("backfill-digest-deleted", lambda trail: trail.delete(trail.backfills[1]), "unlisted", build=backfilled)
case(
    "backfill-without-its-time",
    lambda trail: trail.objects[trail.backfills[1]].metadata.pop("backfill-generation-timestamp"),
    build=backfilled,
)
case("backfill-log-altered", lambda trail: trail.flip(trail.logs(-2)[0]), build=backfilled)
case("backfill-log-deleted", lambda trail: trail.delete(trail.logs(-1)[0]), build=backfilled)


def add_unlisted(trail: SignedTrail) -> None:
    trail.objects[trail.log_key(trail.hours[MIDDLE].start + HOUR / 3, "A" * 16)] = trail.objects[trail.logs(MIDDLE)[0]]


case("unlisted-log", add_unlisted, "unlisted")
case(
    "several-at-once",
    lambda trail: (
        trail.flip(trail.logs(FIRST + 1)[0]),
        trail.delete(trail.logs(LAST - 1)[1]),
        trail.flip(trail.digests[MIDDLE]),
        trail.delete(trail.digests[MIDDLE + 2]),
    ),
    "gap",
    "unlisted",
)
