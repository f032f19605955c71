from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail import bucket_threads
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST, BucketThreads
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS, listings_ahead

PAGE = 1_000
# Empty, of one page, of as many as are begun ahead, and of more.
SIZES = [0, 1, 999, 1_000, 1_001, 4_000, 4_001, 9_000]


class Folders:
    """Listings of names, which remember what was taken of each and by which threads."""

    def __init__(self, sizes: list[int], breaks_off: dict[int, int] | None = None) -> None:
        self.sizes = sizes
        self.breaks_off = breaks_off or {}
        self.taken = Counter[int]()
        self.threads: dict[int, set[threading.Thread]] = {}

    def __call__(self, folder: int) -> Iterator[str]:
        self.threads[folder] = set()
        for number in range(self.sizes[folder]):
            if number == self.breaks_off.get(folder):
                raise OSError(f"folder {folder} breaks off")
            self.threads[folder].add(threading.current_thread())
            self.taken[folder] += 1
            yield f"{folder}:{number}"

    def names(self, folders: range) -> list[str]:
        return [f"{folder}:{number}" for folder in folders for number in range(self.sizes[folder])]


@pytest.fixture(params=[True, False], ids=["slow bucket", "quick bucket"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0 if request.param else 1e9)
    return bool(request.param)


def go_through(listing_of: Callable[[int], Iterator[str]], items: Iterable[int], found: list[str]) -> None:
    with BucketThreads(MOST_LISTINGS) as pool:
        for _, names in listings_ahead(listing_of, items, pool):
            for name in names:
                found.append(name)


def test_names_come_in_the_order_of_the_folders(slow: bool) -> None:
    folders = Folders(SIZES * 8)
    found: list[str] = []
    go_through(folders, range(len(folders.sizes)), found)
    assert found == folders.names(range(len(folders.sizes)))
    assert folders.taken == Counter({folder: size for folder, size in enumerate(folders.sizes) if size})


@pytest.mark.parametrize("items", [0, 1])
def test_a_single_listing_needs_no_thread(items: int) -> None:
    folders = Folders([5_000])
    before = set(threading.enumerate())
    with BucketThreads(MOST_LISTINGS) as pool:
        for _, names in listings_ahead(folders, range(items), pool):
            assert not folders.taken
            assert next(names) == "0:0"
            assert folders.taken == {0: 1}
            assert len(list(names)) == 4_999
        # One of another test may end meanwhile.
        assert set(threading.enumerate()) <= before
    assert folders.threads == ({0: {threading.current_thread()}} if items else {})


def test_nothing_is_begun_ahead_without_threads() -> None:
    folders = Folders([2_000] * 3)
    for folder, names in listings_ahead(folders, range(3), None):
        assert folders.taken[folder] == 0
        next(names)
        assert folders.taken[folder] == 1


class KeptThreads(BucketThreads):
    """Threads that keep what they were given."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.given: list[Future[Any]] = []

    def submit(self, work: Callable[[Any], Any], item: Any) -> Future[Any]:
        self.given.append(super().submit(work, item))
        return self.given[-1]


def begun_ahead(folders: Folders) -> list[int]:
    """Go through all folders, each time when the threads have done what they may; return how many were begun ahead."""
    ahead = []
    with KeptThreads(MOST_LISTINGS) as pool:
        for folder, names in listings_ahead(folders, range(len(folders.sizes)), pool):
            wait(pool.given)
            ahead.append(len(pool.given) - folder)
            assert all(folders.taken[begun] <= 4 * PAGE for begun in range(folder + 1, len(pool.given) + 1))
            for _ in names:
                pass
    return ahead


def test_few_listings_are_begun_ahead(slow: bool) -> None:
    ahead = begun_ahead(Folders([3] * 100))
    assert max(ahead[:10]) == AT_FIRST
    assert max(ahead) == (MOST_LISTINGS - 1 if slow else AT_FIRST)


def test_fewer_are_begun_if_they_are_long(slow: bool) -> None:
    ahead = begun_ahead(Folders([3] * 60 + [9_000] * 40))
    # Four have brought as many names as are held; when one of them is taken, a page is expected of each further one.
    assert max(ahead[80:]) <= (7 if slow else AT_FIRST)


@pytest.mark.parametrize("folder", [0, 1, 20])
@pytest.mark.parametrize("number", [0, 1, 1_500, 3_999, 4_000, 5_000])
def test_a_listing_that_breaks_off_has_given_what_came_before(folder: int, number: int, slow: bool) -> None:
    folders = Folders([7] * folder + [6_000] + [7] * 30, breaks_off={folder: number})
    found: list[str] = []
    with pytest.raises(OSError, match=f"^folder {folder} breaks off$"):
        go_through(folders, range(len(folders.sizes)), found)
    assert found == folders.names(range(folder)) + [f"{folder}:{before}" for before in range(number)]


@pytest.mark.parametrize("number", [0, 1, 20])
def test_folders_that_break_off_come_behind_those_before(number: int, slow: bool) -> None:
    def items() -> Iterator[int]:
        yield from range(number)
        raise OSError("no more folders")

    folders = Folders([1_200] * number)
    found: list[str] = []
    with pytest.raises(OSError, match="no more folders"):
        go_through(folders, items(), found)
    assert found == folders.names(range(number))


def test_who_stops_early_stops_the_threads_with_their_page() -> None:
    before = set(threading.enumerate())
    entered, released = threading.Semaphore(0), threading.Event()
    folders = Folders([1] + [4_000] * 50)

    def listing_of(folder: int) -> Iterator[str]:
        for number, name in enumerate(folders(folder)):
            if folder and number == 500:
                entered.release()
                assert released.wait(60)
            yield name

    with BucketThreads(MOST_LISTINGS) as pool:
        with closing(listings_ahead(listing_of, range(51), pool)) as listings:
            _, names = next(listings)
            assert list(names) == ["0:0"]
            for _ in range(AT_FIRST):
                assert entered.acquire(timeout=60)
        released.set()
    assert set(threading.enumerate()) <= before
    assert folders.taken == {0: 1} | dict.fromkeys(range(1, AT_FIRST + 1), PAGE)
