"""
Log files read by threads, ahead of who takes the results and in the order in which they were given.

What is ahead is bound by files and by bytes, so that memory does not depend on how many files there are: unpacked
bytes, and those that a slow bucket has been asked for and that wait for their turn to be unpacked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType

from airflow_provider_cloudtrail.audit_event import FileRows, KnownFile
from airflow_provider_cloudtrail.stopping_pool import StoppingPool
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST, BucketThreads
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import ObjectError, StoredObject, StoreError

# Log files unpack to about this many times their size.
_EXPANSION = 12
_SIZE_IF_UNKNOWN = 64 * 1024
# Of quiet Regions files are so small that handing them over to a thread one by one costs as much as unpacking them.
FILES_HANDED_OVER = 32
_BYTES_HANDED_OVER = 1024 * 1024
# While a bucket takes its time it is the number of threads that counts, and each must have something to wait for.
PARTS_IF_SLOW = 8
# So that those who read have something to do while a batch is stored.
_LEAST_GROUPS_AHEAD = 16
# A slow bucket is asked for large files before there is room to unpack them.
_BYTES_FETCHED_AHEAD = 6 * 1024 * 1024


@dataclass(frozen=True)
class Task:
    """A file to read, what to select, and what the ledger said."""

    log_file: LogFile
    selection: Selection
    previous: KnownFile | None

    @property
    def weight(self) -> int:
        """Bytes that the file unpacks to, by estimate."""
        return (self.log_file.size_bytes or _SIZE_IF_UNKNOWN) * _EXPANSION


@dataclass(frozen=True)
class Fetched:
    """
    A log file as it came from the bucket.

    :param stored: the object, or why it could not be fetched.
    :param seconds: that fetching it took.
    """

    stored: StoredObject | ObjectError
    seconds: float


@dataclass
class _Group:
    """
    Files that one thread reads, one after the other.

    :param weight: bytes that they unpack to, by estimate.
    :param failure: why the run cannot go on behind those that were read.
    :param fetching: what they are fetched by ahead of being read; None: they are fetched by who reads them.
    """

    tasks: list[Task] = field(default_factory=list)
    weight: int = 0
    failure: StoreError | None = None
    fetching: Future[list[Fetched]] | None = None


def _groups(tasks: Iterator[Task], pool: BucketThreads, threads: int, bytes_ahead: int) -> Iterator[_Group]:
    """Yield small files together, larger ones and the first ones alone: every thread has one at once."""
    group = _Group()
    yielded = 0
    try:
        for task in tasks:
            parts = PARTS_IF_SLOW if pool.slow else 1
            if group.tasks and (
                yielded < threads
                or len(group.tasks) >= FILES_HANDED_OVER // parts
                or group.weight + task.weight > min(_BYTES_HANDED_OVER // parts, bytes_ahead // (2 * pool.at_once))
            ):
                yield group
                yielded += 1
                group = _Group()
            group.tasks.append(task)
            group.weight += task.weight
    except StoreError as error:
        # The listing goes no further: what it gave before is still read and stored.
        group.failure = error
    if group.tasks or group.failure is not None:
        yield group


class ReadAhead:
    """
    Threads that read log files; a context manager that ends them.

    :param fetch: fetches one file; called by several threads.
    :param read: makes rows of what was fetched; called by several threads.
    :param threads: files that are read at the same time, at most.
    :param bytes_ahead: most bytes, unpacked and by estimate, that are read ahead; a single larger file is read alone.
    """

    def __init__(
        self,
        fetch: Callable[[Task], Fetched],
        read: Callable[[Task, Fetched], FileRows],
        threads: int,
        bytes_ahead: int,
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._threads = threads
        self._bytes_ahead = bytes_ahead
        self._stopped = False
        self._pool = BucketThreads(threads)
        self._readers = StoppingPool(min(AT_FIRST, threads), thread_name_prefix="cloudtrail-read")
        self._waiting: deque[_Group] = deque()
        self._reading: deque[tuple[_Group, Future[list[FileRows]]]] = deque()
        self._being_read = 0

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped = True
        # Readers wait for what is fetched: whoever waits in vain for the one does for the other.
        self._readers.stop(self._pool.stop())

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, FileRows]]:
        """
        Yield tasks, in their order, and what they give, while threads read the next ones.

        :raises StoreError: that tasks or reading have raised, behind the results of all tasks before.
        """
        for group in _groups(tasks, self._pool, self._threads, self._bytes_ahead):
            if (self._waiting or not self._has_room(group)) and not self._is_enough_ahead():
                group.fetching = self._pool.submit(self._fetched, group)
            self._waiting.append(group)
            while self._waiting and (self._has_room(self._waiting[0]) or self._is_enough_ahead()):
                while not self._has_room(self._waiting[0]):
                    yield from self._next_results()
                self._read_next()
        while self._reading:
            yield from self._next_results()
            while self._waiting and self._has_room(self._waiting[0]):
                self._read_next()

    def _has_room(self, group: _Group) -> bool:
        """Tell whether a group may be read beside those that are."""
        # Where what is next has been fetched already, half of the room keeps those busy who read.
        room = self._bytes_ahead // 2 if self._pool.slow else self._bytes_ahead
        fits = self._being_read + group.weight <= room and len(self._reading) < self._groups_ahead()
        return fits or not self._reading

    def _groups_ahead(self) -> int:
        return min(2 * self._threads, max(2 * self._pool.at_once, _LEAST_GROUPS_AHEAD))

    def _is_enough_ahead(self) -> bool:
        """Tell whether nothing further is to be fetched before something is read."""
        return (
            not self._pool.slow
            or len(self._reading) >= self._groups_ahead()
            or len(self._waiting) >= self._threads
            or sum(group.weight for group in self._waiting) >= _BYTES_FETCHED_AHEAD * _EXPANSION
        )

    def _read_next(self) -> None:
        group = self._waiting.popleft()
        self._being_read += group.weight
        if self._pool.slow and group.fetching is None:
            group.fetching = self._pool.submit(self._fetched, group)
        # The allocator of the C library keeps memory for each thread: what many only fetch, a few unpack.
        submit = self._pool.submit if group.fetching is None else self._readers.submit
        self._reading.append((group, submit(self._read_group, group)))

    def _read_group(self, group: _Group) -> list[FileRows]:
        fetched = self._fetched(group) if group.fetching is None else group.fetching.result()
        group.fetching = None
        read: list[FileRows] = []
        try:
            for task, one in zip(group.tasks, fetched, strict=False):
                read.append(self._read(task, one))
        except StoreError as error:
            # What was answered is not what the bucket holds; files before it are not lost.
            group.failure = error
        return read

    def _fetched(self, group: _Group) -> list[Fetched]:
        """Fetch files; those before one of which the bucket does not answer are not lost."""
        fetched: list[Fetched] = []
        try:
            # One after the other, and unpacked only then: a thread that waits for the bucket in between has to get
            # hold of Python's lock again, and of its core.
            for task in group.tasks:
                if self._stopped:
                    break
                fetched.append(self._fetch(task))
        except StoreError as error:
            group.failure = error
        for one in fetched:
            # Of what could not be fetched nobody knows.
            if not isinstance(one.stored, ObjectError):
                self._pool.took(one.seconds)
        return fetched

    def _next_results(self) -> Iterator[tuple[Task, FileRows]]:
        group, future = self._reading.popleft()
        self._being_read -= group.weight
        read = future.result()
        # Fewer results than tasks are followed by the failure.
        yield from zip(group.tasks, read, strict=False)
        if group.failure is not None:
            raise group.failure
