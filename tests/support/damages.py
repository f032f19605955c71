"""What somebody may do to a signed trail, chosen at random: before it is signed, and to its objects afterwards."""

from __future__ import annotations

import copy
import gzip
import random
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.support.signed_trail import HOUR, WINDOW, Hour, SignedTrail

SECOND = gzip.compress(b'{"Records":[]}', mtime=0)
_SETTLE = timedelta(hours=2)
Damage = Callable[[SignedTrail, random.Random], Any]


# -- before it is signed ---------------------------------------------------------------------------


def _hour(trail: SignedTrail, chance: random.Random) -> Hour:
    return chance.choice(trail.hours)


def _starts_anew(trail: SignedTrail, chance: random.Random) -> None:
    _hour(trail, chance).starting = True


def _was_off(trail: SignedTrail, chance: random.Random) -> None:
    number = chance.randrange(1, len(trail.hours) - 3)
    trail.hours[number + 2].starting = True
    del trail.hours[number : number + chance.randint(1, 2)]


def _late_file(trail: SignedTrail, chance: random.Random) -> None:
    hour = _hour(trail, chance)
    trail.add_file(hour, hour.start - timedelta(minutes=chance.choice((1, 5, 59, 61, 240, 700))))


def _listed_again(trail: SignedTrail, chance: random.Random) -> None:
    hours = [hour for hour in trail.hours if hour.files]
    one, other = chance.sample(hours, 2)
    key = chance.choice(list(one.files))
    other.files[key] = one.files[key]


def _backfilled(trail: SignedTrail, chance: random.Random) -> None:
    for number in sorted(chance.sample(range(12), 3)):
        hour = Hour(trail.hours[0].start + number * HOUR, backfill=True)
        trail.add_file(hour, hour.start + timedelta(minutes=25))
        trail.hours.append(hour)


def _another_key(trail: SignedTrail, chance: random.Random) -> None:
    """Key 1 is known to the Region, key 2 is not."""
    _hour(trail, chance).signed_by = chance.choice((1, 2))


def _says_what_is_not(trail: SignedTrail, chance: random.Random) -> None:
    name = chance.choice(("previousDigestSignature", "previousDigestHashValue"))
    hour = _hour(trail, chance)
    if not hour.starting and hour is not trail.hours[0]:
        hour.document[name] = "5a" * 32


BUILDS: list[Damage] = [
    _starts_anew,
    _was_off,
    _late_file,
    _listed_again,
    _backfilled,
    _another_key,
    _says_what_is_not,
    lambda trail, chance: _hour(trail, chance).files.clear(),
]


# -- afterwards ------------------------------------------------------------------------------------


def _log(trail: SignedTrail, chance: random.Random) -> str | None:
    keys = sorted(key for key in trail.objects if "/CloudTrail/" in key)
    return chance.choice(keys) if keys else None


def _digest(trail: SignedTrail, chance: random.Random) -> str | None:
    keys = sorted(key for key in trail.objects if "/CloudTrail-Digest/" in key)
    return chance.choice(keys) if keys else None


def of_any(
    change: Callable[[SignedTrail, str, random.Random], Any],
    *choose: Callable[[SignedTrail, random.Random], str | None],
) -> Damage:
    """Return what does something to one object, of one of some kinds."""

    def damage(trail: SignedTrail, chance: random.Random) -> None:
        key = chance.choice(choose)(trail, chance)
        # One that is damaged already may be too short for another damage.
        if key is not None and len(trail.objects[key].body) > 30:
            change(trail, key, chance)

    return damage


def _delete(trail: SignedTrail, key: str, _: random.Random) -> None:
    trail.delete(key)


def _bytes(trail: SignedTrail, key: str, chance: random.Random) -> None:
    body = bytearray(trail.objects[key].body)
    # Not in the header, whose time and name are nobody's business.
    body[chance.randrange(10, len(body))] ^= 1 << chance.randrange(8)
    trail.replace(key, bytes(body))


def _unpacked(trail: SignedTrail, key: str) -> bytes | None:
    try:
        return gzip.decompress(trail.objects[key].body)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def _content(trail: SignedTrail, key: str, chance: random.Random) -> None:
    content = bytearray(_unpacked(trail, key) or b"{}")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(7)
    trail.replace(key, gzip.compress(bytes(content), mtime=0))


def _packed_again(trail: SignedTrail, key: str, _: random.Random) -> None:
    """Harmless: what is in it is the same."""
    content = _unpacked(trail, key)
    if content is not None and gzip.compress(content, mtime=0) == trail.objects[key].body:
        trail.replace(key, gzip.compress(content, 1, mtime=1))


def _followed_by(trail: SignedTrail, key: str, chance: random.Random) -> None:
    trail.append(key, chance.choice((SECOND, b"\0", b"x" * 9)))


def _cut_off(trail: SignedTrail, key: str, chance: random.Random) -> None:
    trail.replace(key, trail.objects[key].body[: -chance.randint(1, 30)])


def _something_else(trail: SignedTrail, key: str, chance: random.Random) -> None:
    trail.replace(key, chance.choice((b"", b"{}", SECOND)))


def _in_place_of(trail: SignedTrail, key: str, chance: random.Random) -> None:
    alike = sorted(one for one in trail.objects if ("-Digest/" in one) == ("-Digest/" in key))
    trail.objects[key] = copy.deepcopy(trail.objects[chance.choice(alike)])


def _exchanged(trail: SignedTrail, key: str, chance: random.Random) -> None:
    alike = sorted(one for one in trail.objects if ("-Digest/" in one) == ("-Digest/" in key))
    other = chance.choice(alike)
    trail.objects[key], trail.objects[other] = trail.objects[other], trail.objects[key]


def _log_copied(trail: SignedTrail, key: str, chance: random.Random) -> None:
    edge = chance.choice((WINDOW[0] - _SETTLE, WINDOW[0], WINDOW[1]))
    moment = edge + timedelta(minutes=chance.choice((-60, -1, 0, 1, 60)))
    trail.objects[trail.log_key(moment, f"{chance.randrange(10**16):016}")] = copy.deepcopy(trail.objects[key])


def _log_moved(trail: SignedTrail, key: str, chance: random.Random) -> None:
    _log_copied(trail, key, chance)
    trail.delete(key)


def _digest_moved(trail: SignedTrail, key: str, chance: random.Random) -> None:
    hour = Hour(_hour(trail, chance).start + HOUR / 2, backfill=key.endswith("_backfill.json.gz"))
    trail.move(key, trail.digest_key(hour))


def _metadata(trail: SignedTrail, key: str, chance: random.Random) -> None:
    metadata = trail.objects[key].metadata
    signature = metadata.get("signature", "")
    new = chance.choice(("", "no hex", "00" * 256, signature[:-2], signature[::-1], f"{signature}00"))
    trail.objects[key].metadata = {**metadata, "signature": new}


def _lost_metadata(trail: SignedTrail, key: str, _: random.Random) -> None:
    trail.lose_metadata(key)


def _several_deleted(trail: SignedTrail, chance: random.Random) -> None:
    keys = sorted(key for key in trail.objects if "-Digest/" in key)
    first = chance.randrange(len(keys)) if keys else 0
    trail.delete(*chance.choice((keys[first:], keys[: first + 1], keys[first : first + 2], keys)))


DAMAGES: list[Damage] = [
    of_any(_delete, _log, _digest),
    of_any(_bytes, _log, _digest),
    of_any(_content, _log, _digest),
    of_any(_packed_again, _log, _digest),
    of_any(_in_place_of, _log, _digest),
    of_any(_exchanged, _log, _digest),
    of_any(_followed_by, _log, _digest),
    of_any(_cut_off, _log, _digest),
    of_any(_something_else, _log, _digest),
    of_any(_log_copied, _log),
    of_any(_log_moved, _log),
    of_any(_digest_moved, _digest),
    of_any(_metadata, _digest),
    of_any(_lost_metadata, _digest),
    _several_deleted,
]
