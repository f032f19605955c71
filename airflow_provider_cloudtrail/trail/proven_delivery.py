"""
Up to where delivery is proven: what digests still have to arrive before a day is complete.

CloudTrail writes a digest an hour for each account and Region, also when nothing was delivered. When a
valid one covers a moment, every log file that was delivered before it is listed, and none can be added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.delivered import AccountRegion, account_regions, list_digests
from airflow_provider_cloudtrail.trail.digest import HOUR, Chain, DigestKey, FetchedDigest
from airflow_provider_cloudtrail.trail.digest_chain import TOLERANCE, ChainVerifier, CheckedDigest
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS, listings_ahead
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.store import Store

# The digest that covers a moment ends within the hour behind it, the one that may have to vouch for it
# an hour later; both with room to spare.
_BEHIND = 3 * HOUR


class _Unproven(NamedTuple):
    """
    What a chain does not prove.

    :param reason: why it does not.
    :param begins_later: whether it never will, because its first digest begins behind the moment.
    """

    reason: str
    begins_later: bool = False


class _Digests(NamedTuple):
    """
    The digests of a chain.

    :param covering: those that may cover the moment, and vouch for it.
    :param fetched: the same; None: it is not there any more.
    """

    chain: Chain
    keys: list[DigestKey]
    covering: list[DigestKey]
    fetched: list[FetchedDigest | None]


def waiting_for(
    store: Store,
    location: TrailLocation,
    until: datetime,
    ring: KeyRing,
    *,
    seen_within: timedelta = timedelta(days=1),
    account_ids: Collection[str] | None = None,
    regions: Collection[str] | None = None,
    ahead: bool = True,
) -> list[str]:
    """
    Return what has no valid digest up to a moment yet, as text; nothing if delivery is proven complete.

    Costs a listing for each account and Region, and one or two GETs for each whose digest has arrived.

    :param store: the trail's bucket.
    :param location: where the trail delivers to.
    :param until: the moment, UTC.
    :param ring: the public keys.
    :param seen_within: accounts, Regions and trails that have had a digest so long before the moment are
        waited for; those that were silent for longer are not.
    :param account_ids: accounts to wait for, seen or not. None: those seen.
    :param regions: Regions to wait for. None: those seen.
    :param ahead: whether threads list, and fetch, those of the next accounts and Regions meanwhile.
    :raises StoreError: if the bucket does not answer.
    """
    waiting: list[str] = []
    later: list[str] = []
    seen: set[tuple[str, str]] = set()

    def chains_of(place: AccountRegion) -> Iterator[_Digests]:
        chains = _chains(store, place, until - seen_within, until + _BEHIND)
        for chain, keys in sorted(chains.items()):
            # Two: a copy of a digest that has lost its signature is vouched for by the next one.
            covering = [key for key in keys if key.end >= until][:2]
            # The keys to verify it are asked for by one thread only.
            yield _Digests(chain, keys, covering, [fetch_digest(store, location.bucket, key) for key in covering])

    with ExitStack() as stack:
        pool = stack.enter_context(BucketThreads(MOST_LISTINGS)) if ahead else None
        places = account_regions(store, location, account_ids, regions, pool)
        for place, chains in stack.enter_context(closing(listings_ahead(chains_of, places, pool))):
            for digests in chains:
                unproven = _not_proven(store, location.bucket, digests, until, ring)
                begins_later = unproven is not None and unproven.begins_later
                if not begins_later:
                    seen.add((place.account_id, place.region))
                if unproven is not None:
                    (later if begins_later else waiting).append(f"{digests.chain}: {unproven.reason}")
    never_seen = _never_seen(seen, account_ids, regions)
    # It had no digest before the moment, so that nobody has waited for it then; it proves nothing of that time either.
    waiting += never_seen + later if never_seen or not seen else []
    if waiting or seen:
        return waiting
    looked = f"{location.root} in {location.bucket}"
    return [
        f"no digest at all below {looked}: is log file validation on for the trail, and is that where it delivers to?"
    ]


def _chains(store: Store, place: AccountRegion, start: datetime, end: datetime) -> dict[Chain, list[DigestKey]]:
    chains: dict[Chain, list[DigestKey]] = {}
    for key in list_digests(store, place.digests, start, end):
        if not key.chain.backfill:
            chains.setdefault(key.chain, []).append(key)
    return chains


def _not_proven(store: Store, bucket: str, digests: _Digests, until: datetime, ring: KeyRing) -> _Unproven | None:
    """Return why the digests of a chain do not prove delivery up to a moment, or None if they do."""
    covering = digests.covering
    if not covering:
        return _Unproven(f"the newest digest ends at {digests.keys[-1].end.isoformat()}")
    # A digest that begins behind the moment is followed back to the one before it, which may end before the moment.
    checked = next((one for one in _checked(store, bucket, digests, until, ring) if one.end >= until), None)
    if checked is None:
        return _Unproven(f"{covering[0].key} has just been deleted")
    if not checked.valid:
        return _Unproven(f"{checked.key.key} is not valid ({checked.fault})")
    if checked.start > until + TOLERANCE:
        reason = f"the digest behind it covers only what is later than {checked.start.isoformat()}"
        begins = checked.digest is not None and checked.digest.previous_key is None and covering[0] == digests.keys[0]
        return _Unproven(reason, begins_later=begins)
    return None


def _checked(store: Store, bucket: str, digests: _Digests, until: datetime, ring: KeyRing) -> Iterator[CheckedDigest]:
    verifier = ChainVerifier(ring, lambda key: fetch_digest(store, bucket, key) if key.bucket is None else None, until)
    return verifier.check(filter(None, digests.fetched))


def _never_seen(
    seen: set[tuple[str, str]], account_ids: Collection[str] | None, regions: Collection[str] | None
) -> list[str]:
    """Return what was asked for by name and has no digest."""
    if account_ids is not None and regions is not None:
        wanted = {(account_id, region) for account_id in account_ids for region in regions}
        return [f"{' '.join(pair)}: no digest yet" for pair in sorted(wanted - seen)]
    accounts = set(account_ids or ()) - {account_id for account_id, _ in seen}
    missing = sorted(accounts | (set(regions or ()) - {region for _, region in seen}))
    return [f"{name}: no digest yet" for name in missing]
