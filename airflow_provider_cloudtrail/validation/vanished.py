"""
Log files that were loaded, that no digest lists, and that lie in the bucket no more.

Whoever can write to the bucket can put a log file there, wait until it is loaded, and take it away again before
digests are held against the bucket. Its rows stay in the audit table, and only the ledger knows where they came from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, islice

from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.log_file import LogFile, log_file_of_uri
from airflow_provider_cloudtrail.trail.store import Store
from airflow_provider_cloudtrail.validation.findings import Findings
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.validation.unlisted import about_log_file, report_unlisted

_AHEAD = 16
_PAGE = 1_000
_MESSAGE = (
    "its rows are in the table, but no digest lists it, and it is not in the bucket any more; open until its row is "
    "deleted from the ledger"
)


def report_vanished(
    run: Validation,
    summary: ValidationSummary,
    findings: Findings,
    accounted_for: Collection[str],
    pool: BucketThreads,
) -> None:
    """
    Report them, when all digests of the window have been held against the ledger and that is stored.

    :param accounted_for: URIs of log files that a digest lists, or that were found in the bucket without one, and of
        which the ledger does not say so.
    :param pool: looks into the bucket for the few files of which nothing else is known.
    """
    vanished = [
        about_log_file(file, file.account_id, file.region) for file in _vanished(run, findings, accounted_for, pool)
    ]
    summary.files_unlisted += report_unlisted(run, findings, vanished, _MESSAGE)


def _vanished(
    run: Validation, findings: Findings, accounted_for: Collection[str], pool: BucketThreads
) -> Iterator[LogFile]:
    uris = run.evidence.loaded_without_digest(
        findings.location, run.unlisted_from, run.due, run.account_ids, run.regions
    )
    files = [log_file_of_uri(uri) for uri in uris if uri not in accounted_for]
    store = run.store_of(run.location.bucket)

    def missing(of_folder: list[LogFile]) -> list[LogFile]:
        with pool.answering():
            return list(_missing(store, of_folder))

    for found in pool.map(missing, _by_folder(files), ahead=_AHEAD):
        yield from found


def _by_folder(files: Iterable[LogFile]) -> Iterator[list[LogFile]]:
    """Yield files that lie in one folder, as many as a request can be answered with at most."""
    for _, of_folder in groupby(files, key=lambda file: file.key.rpartition("/")[0]):
        while portion := list(islice(of_folder, _PAGE)):
            yield portion


def _missing(store: Store, files: Iterable[LogFile]) -> Iterator[LogFile]:
    """
    Yield those that are not in the bucket any more.

    One request answers for all that lie close together: whoever has put a million there decides otherwise how many are
    made, and each costs more than to read the file.

    :param files: of one folder, in the order of their keys.
    """
    page: list[str] = []
    complete = False
    for file in files:
        if not complete and (not page or page[-1] < file.key):
            # From what is just before it.
            listed = store.objects(f"{file.key.rpartition('/')[0]}/", file.key[:-1])
            page = [found.key for found in islice(listed, _PAGE)]
            complete = len(page) < _PAGE
        place = bisect_left(page, file.key)
        if page[place : place + 1] != [file.key]:
            yield file
