"""
Which log files a window of delivery holds, found with as few listings as possible.

Accounts and Regions are folders, found by listing with a delimiter where they are not given. Within a
Region's folder keys sort by delivery time, so that a listing starts at the window and stops behind it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice

from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.day_folders import first_key, is_behind
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS, listings_ahead
from airflow_provider_cloudtrail.trail.log_file import (
    Folder,
    LogFile,
    TrailLocation,
    log_files_of,
)
from airflow_provider_cloudtrail.trail.store import ListedObject, ListingDeniedError, Store

log = logging.getLogger(__name__)

_ORGANIZATION = re.compile(r"o-[a-z0-9]+")


class EmptyTrailError(LookupError):
    """Raised when a bucket holds no folder of log files at all where one was looked for."""


@dataclass(frozen=True)
class RegionFolder:
    """
    The folder of one account's log files of one Region.

    :param path: key prefix, ``.../ACCOUNT/CloudTrail/REGION/``.
    """

    path: str
    account_id: str
    region: str


def region_folders(
    store: Store,
    location: TrailLocation,
    account_ids: Collection[str] | None = None,
    regions: Collection[str] | None = None,
    pool: BucketThreads | None = None,
    denied: list[str] | None = None,
) -> Iterator[RegionFolder]:
    """
    Yield the folders of log files of a trail, account by account.

    :param store: the trail's bucket.
    :param location: where the trail delivers to.
    :param account_ids: accounts; None: all that have a folder.
    :param regions: Regions; None: all that have a folder.
    :param pool: looks for the folders of the next accounts; None: nothing is done ahead.
    :param denied: receives what is said of accounts that may not be listed; None: it is raised.
    """

    def of_account(account: tuple[str, str]) -> Iterator[RegionFolder]:
        layout, account_id = account
        logs = f"{layout}{account_id}/{Folder.LOG.value}/"
        with _noting(denied):
            for region in sorted(regions) if regions is not None else store.folders(logs):
                yield RegionFolder(f"{logs}{region}/", account_id, region)

    accounts = (
        (layout, account_id)
        for layout in layouts(store, location)
        for account_id in sorted(account_ids if account_ids is not None else store.folders(layout))
        if account_ids is not None or not is_organization(account_id)
    )
    for _, folders in listings_ahead(of_account, accounts, pool if regions is None else None):
        yield from folders


def list_log_files(
    store: Store,
    location: TrailLocation,
    window: DeliveryWindow,
    account_ids: Collection[str] | None = None,
    regions: Collection[str] | None = None,
    *,
    look_for_folders: bool = False,
    without_folder: list[str] | None = None,
    ahead: bool = True,
    make_sure: bool = True,
    denied: list[str] | None = None,
) -> Iterator[LogFile]:
    """
    Yield the log files whose stamp lies in a window, its margins included.

    Lazy: while files are taken, threads ask for the first pages of some folders behind, and nothing else. Files come
    folder by folder, inside of one in the order of their stamps, which is not the order of arrival.

    :param store: the trail's bucket.
    :param location: where the trail delivers to.
    :param window: which deliveries.
    :param account_ids: accounts; None: all.
    :param regions: Regions; None: all.
    :param look_for_folders: whether to make sure of accounts and Regions that are named, and of which nothing was
        listed, that there is a folder. With ``regions`` nobody has asked for it, so that a wrong name looks like a
        quiet one. Costs a listing for each account, until there is one for all that are named.
    :param without_folder: receives those that have none, when everything was listed and something has one.
    :param ahead: whether threads list the next folders; False: a page is asked for when the files before it have
        been taken.
    :param make_sure: as in :meth:`Store.objects`.
    :param denied: receives what is said of accounts and Regions that may not be listed, and are passed over;
        None: it is raised.
    :raises EmptyTrailError: if there is no folder of log files.
    """

    def objects_of(folder: RegionFolder) -> Iterator[ListedObject]:
        """Yield the objects from the begin of the window on; none follows the first one behind it."""
        begin = first_key(folder.path, folder.account_id, folder.region, window.floor)
        with _noting(denied):
            for found in store.objects(folder.path, begin, make_sure=make_sure):
                yield found
                if is_behind(found.key, folder.path, window.ceiling):
                    break

    seen = _Seen(set(account_ids or ()), set(regions or ()))
    with ExitStack() as stack:
        pool = stack.enter_context(BucketThreads(MOST_LISTINGS)) if ahead else None
        listed = listings_ahead(objects_of, region_folders(store, location, account_ids, regions, pool, denied), pool)
        for folder, objects in stack.enter_context(closing(listed)):
            log_file = log_files_of(location.bucket, folder.path, folder.account_id, folder.region)
            there = regions is None
            for found in objects:
                there = True
                if is_behind(found.key, folder.path, window.ceiling):
                    break
                file = log_file(found.key, found.size_bytes, found.etag or None)
                if file is None:
                    log.info("Left alone, because it is not named like a log file: %s", found.key)
                elif window.reads(file.delivered_at):
                    yield file
            seen.add(folder, there=there)
    if look_for_folders and regions is not None:
        seen.look_for_folders(store)
    else:
        seen.anything = bool(seen.folders)
    seen.conclude(location, account_ids, without_folder)


@contextmanager
def _noting(denied: list[str] | None) -> Iterator[None]:
    try:
        yield
    except ListingDeniedError as error:
        if denied is None:
            raise
        denied.append(str(error))


@dataclass
class _Seen:
    """
    What a listing has come by.

    :param accounts: given by name, as far as nothing of them was seen.
    :param regions: the same of Regions.
    :param folders: paths of the accounts that were listed, with their ids.
    :param anything: whether there is any folder.
    """

    accounts: set[str]
    regions: set[str]
    folders: dict[str, str] = field(default_factory=dict)
    anything: bool = False

    def add(self, folder: RegionFolder, *, there: bool) -> None:
        # The account's: that a Region has none yet is no fault.
        self.folders[folder.path.removesuffix(f"{folder.region}/")] = folder.account_id
        if there:
            self._there(folder.account_id, [folder.region])

    def look_for_folders(self, store: Store) -> None:
        """Look for folders of those of which nothing was seen: where Regions are named, nobody has asked for them."""
        for path, account_id in self.folders.items():
            if (self.regions or account_id in self.accounts) and (present := store.folders(path)):
                self._there(account_id, present)

    def conclude(
        self, location: TrailLocation, account_ids: Collection[str] | None, without_folder: list[str] | None
    ) -> None:
        if not self.anything:
            raise EmptyTrailError(
                f"no log files below {location.root} in {location.bucket}"
                f"{f' for organization {location.organization_id}' if location.organization_id else ''}"
                f"{f' and accounts {sorted(account_ids)}' if account_ids else ''}; check bucket and prefix (the part "
                "of the keys before AWSLogs/), organization_id and account_ids, and that the trail is logging"
            )
        if without_folder is not None:
            without_folder += [*sorted(self.accounts), *sorted(self.regions)]

    def _there(self, account_id: str, regions: Collection[str]) -> None:
        self.anything = True
        self.accounts.discard(account_id)
        self.regions.difference_update(regions)


def new_log_files(listed: Iterable[LogFile], seen: Collection[str], limit: int) -> list[LogFile]:
    """
    Return the first files of a listing that were not seen before: what every mode of the sensor waits for.

    :param listed: files of the window.
    :param seen: URIs that do not count.
    :param limit: most files to return; the listing is not read further.
    """
    return list(islice((file for file in listed if file.uri not in seen), limit))


def names_without_folder(
    store: Store,
    location: TrailLocation,
    account_ids: Collection[str] | None = None,
    regions: Collection[str] | None = None,
) -> list[str]:
    """
    Return the accounts and Regions among those that are named of which nothing was ever delivered, accounts first.

    Costs nothing if none is named, else a listing for each layout, and for each account until all Regions were seen.

    :param store: the trail's bucket.
    :param location: where the trail delivers to.
    :param account_ids: accounts that are named; None: all are meant.
    :param regions: Regions that are named; None: all are meant.
    """
    accounts, missing = set(account_ids or ()), set(regions or ())
    for layout in layouts(store, location) if accounts or missing else ():
        present = [name for name in store.folders(layout) if not is_organization(name)]
        accounts.difference_update(present)
        for account_id in present:
            if missing and (account_ids is None or account_id in account_ids):
                missing.difference_update(store.folders(f"{layout}{account_id}/{Folder.LOG.value}/"))
    return [*sorted(accounts), *sorted(missing)]


def is_organization(folder: str) -> bool:
    """Tell whether the name of a folder is the id of an organization."""
    return _ORGANIZATION.fullmatch(folder) is not None


def layouts(store: Store, location: TrailLocation) -> list[str]:
    """Return the prefixes under which account folders lie: directly below ``AWSLogs/``, and per organization."""
    if location.organization_id is not None:
        return [f"{location.root}{location.organization_id}/"]
    organizations = [name for name in store.folders(location.root) if is_organization(name)]
    return [location.root, *(f"{location.root}{name}/" for name in organizations)]
