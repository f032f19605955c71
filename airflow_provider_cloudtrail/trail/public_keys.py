"""
The public keys that CloudTrail signs digests with: each Region has its own, which are asked for by time.

Source: API reference of CloudTrail (ListPublicKeys).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_cloudtrail.trail.digest import HOUR

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY_MARGIN = timedelta(hours=2)
"""How far outside of its validity a key may sign, and how far around a window keys are asked for."""


@dataclass(frozen=True)
class PublicKey:
    """
    A key that CloudTrail signs with, as ``ListPublicKeys`` gives it.

    :param der: the key, DER of PKCS#1 or of SubjectPublicKeyInfo.
    :param valid_to: end of its validity, UTC; None: not told.
    """

    fingerprint: str
    der: bytes
    valid_to: datetime | None = None

    @cached_property
    def rsa(self) -> RSAPublicKey | None:
        """The key, or None if these bytes are none."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        try:
            key = load_der_public_key(self.der)
        except (ValueError, UnsupportedAlgorithm):
            return None
        return key if isinstance(key, RSAPublicKey) else None


class KeyRing:
    """
    The public keys of a window, asked for once in each Region.

    :param fetch: returns the keys of a Region that are valid at some time between two.
    :param start: begin of the window, UTC.
    :param end: its end.
    """

    def __init__(
        self, fetch: Callable[[str, datetime, datetime], Iterable[PublicKey]], start: datetime, end: datetime
    ) -> None:
        self._fetch = fetch
        self._start = start
        self._end = end
        self.turn = threading.Lock()
        """Held while keys are asked for, by whatever thread needs one."""
        self._keys: dict[str, dict[str, PublicKey]] = {}
        self._asked: set[tuple[str, datetime]] = set()

    def find(self, region: str, fingerprint: str, generated_at: datetime | None = None) -> PublicKey | None:
        """
        Return a key by its fingerprint; None: the Region does not know it.

        :param generated_at: for backfill digests, which are signed long after the hour they cover.
        """
        if region not in self._keys:
            self._keys[region] = self._keys_of(region, self._start, self._end)
        keys = self._keys[region]
        if fingerprint not in keys and generated_at is not None:
            hour = generated_at.replace(minute=0, second=0, microsecond=0)
            if (region, hour) not in self._asked:
                self._asked.add((region, hour))
                keys |= self._keys_of(region, hour, hour + HOUR)
        return keys.get(fingerprint)

    def has(self, region: str, fingerprint: str) -> bool:
        """Tell whether a key is there without asking."""
        return fingerprint in self._keys.get(region, ())

    def _keys_of(self, region: str, start: datetime, end: datetime) -> dict[str, PublicKey]:
        with self.turn:
            return {key.fingerprint: key for key in self._fetch(region, start - KEY_MARGIN, end + KEY_MARGIN)}
