"""
The validation of issue's size: 2,000 digests that list 100,000 log files, which the ledger in DuckDB knows; or the day
of an organization, whose many accounts and Regions have a few each.

``prepare`` makes the trail. ``validation`` is the contestant: digests and listings over S3, and in the end a profile.
``signatures`` is what it is held against: the same digests fetched, read and verified, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from tests.benchmarks.contestants import Task, idle_worker, s3_store

FILES_PER_DIGEST = 50
PLACES = (("111122223333", "eu-west-1"),)
_PAGE = 1_000


def prepare(
    folder: Path, digests: int, places: Sequence[tuple[str, str]] = PLACES, files_per_digest: float = FILES_PER_DIGEST
) -> dict[str, Any]:
    """
    Write digests, log files without a record, the metadata with the signatures, and a loaded ledger.

    :param digests: number for each account and Region: 24 a day.
    :param places: accounts and Regions.
    """
    from airflow_provider_cloudtrail.audit_event import FileRows, LedgerEntry
    from airflow_provider_cloudtrail.demo.digests import SignedFile, SigningKey, digest_chain
    from airflow_provider_cloudtrail.demo.plan import TrailPlan
    from airflow_provider_cloudtrail.trail.log_file import log_file
    from airflow_provider_cloudtrail.warehouse.evidence import Evidence
    from tests.benchmarks.corpora import START

    target = folder / (f"digests-{digests}" if places == PLACES else f"digests-{len(places)}x{digests}")
    said = target / "written.json"
    if said.exists():
        return dict(json.loads(said.read_text()))
    accounts, regions = (tuple(sorted(set(names))) for names in zip(*places, strict=True))
    plan = TrailPlan(
        accounts, regions, first_day=START.date(), days=digests // 24, organization_id=None, bucket="bench"
    )
    signer = SigningKey.generate()
    metadata = {}
    warehouse = _warehouse(str(target / "ledger.duckdb"))
    target.mkdir(parents=True, exist_ok=True)
    Evidence(warehouse).prepare()
    rows: list[FileRows] = []
    number_of_files = round(digests * files_per_digest)
    for account, region in places:
        root = f"AWSLogs/{account}/"
        files = []
        for number in range(number_of_files):
            stamp = plan.start + timedelta(minutes=number * (24 * 60 * plan.days) // number_of_files)
            name = f"{account}_CloudTrail_{region}_{stamp:%Y%m%dT%H%MZ}_{number:016d}.json.gz"
            key = f"{root}CloudTrail/{region}/{stamp:%Y/%m/%d}/{name}"
            files.append(SignedFile(key, stamp, hashlib.sha256(key.encode()).hexdigest(), None, None))
        for digest in digest_chain(plan, root, account, region, files, signer):
            _write(target / "bucket" / digest.key, digest.content)
            metadata[digest.key] = {"signature": digest.signature, "signature-algorithm": "SHA256withRSA"}
        for file in files:
            _write(target / "bucket" / file.key, b'{"Records":[]}')
            found = log_file("bench", file.key, 0, "e")
            assert found is not None
            entry = LedgerEntry(
                found.uri, "e", 0, file.sha256, account, region, file.delivered_at, 1, 0, 0, 1, 0, "loaded", None,
                "[]", file.delivered_at, None, None, None, None,
            )  # fmt: skip
            rows.append(FileRows(entry, [], []))
    (target / "metadata.json").write_text(json.dumps(metadata))
    for start in range(0, len(rows), 5_000):
        warehouse.write(rows[start : start + 5_000])
    written = {
        "folder": str(target),
        "digests": len(metadata),
        "files": len(rows),
        "days": plan.days,
        "key": signer.public_key.hex(),
        "fingerprint": signer.fingerprint,
    }
    said.write_text(json.dumps(written))
    return written


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    path.write_bytes(stream.compress(content) + stream.flush())


def validation(task: Task) -> Iterator[Any]:
    """Validate the whole trail, and say where the time goes."""
    import shutil

    idle_worker(task)
    import airflow_provider_cloudtrail.operators.validate_logs  # noqa: F401
    from airflow_provider_cloudtrail.trail import digest_signature
    from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
    from airflow_provider_cloudtrail.trail.log_file import TrailLocation
    from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
    from airflow_provider_cloudtrail.trail.s3_store import S3Store
    from airflow_provider_cloudtrail.validation.run import Validation
    from airflow_provider_cloudtrail.validation.validate import validate_trail
    from airflow_provider_cloudtrail.warehouse.evidence import Evidence
    from tests.benchmarks.corpora import START

    ledger = f"{task['scratch']}/ledger.duckdb"
    shutil.copy(f"{task['folder']}/ledger.duckdb", ledger)
    evidence = Evidence(_warehouse(ledger))
    evidence.prepare()
    store = s3_store(task, "bench")
    keys = [PublicKey(task["fingerprint"], bytes.fromhex(task["key"]))]
    window = DeliveryWindow(START, START + timedelta(days=task["days"]), timedelta(days=1))
    run = Validation(
        TrailLocation("bench"), window, lambda _: store, evidence, KeyRing(lambda *_: keys, window.start, window.end)
    )
    clock = Clock()
    digest_signature.signature_fault = clock.timed("RSA in threads", digest_signature.signature_fault)
    S3Store.get = clock.timed("GET in threads", S3Store.get)  # type: ignore[method-assign]
    S3Store.objects = clock.timed_pages("LIST", S3Store.objects)  # type: ignore[method-assign]
    Evidence.loaded_files = clock.timed("asking the ledger", Evidence.loaded_files)  # type: ignore[method-assign]
    Evidence.write = clock.timed("telling the ledger", Evidence.write)  # type: ignore[method-assign]
    yield
    summary = validate_trail(run)
    yield {
        "rows": summary.files_verified,
        "digests": summary.digests_valid,
        "invalid": summary.digests_invalid,
        "unlisted": summary.files_unlisted,
        "profile": {
            f"{name} (CPU {clock.cpu[name]:.1f} s)": round(seconds, 2) for name, seconds in clock.seconds.items()
        },
        "calls": dict(clock.calls),
    }


def signatures(task: Task) -> Iterator[Any]:
    """Fetch each digest and verify its signature, with as many threads as the validation has."""
    from datetime import datetime, timezone

    idle_worker(task)
    from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
    from airflow_provider_cloudtrail.trail.digest import DigestKey, FetchedDigest, digest_key
    from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
    from airflow_provider_cloudtrail.trail.digest_signature import signature_fault
    from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey

    store = s3_store(task, "bench")
    keys = [PublicKey(task["fingerprint"], bytes.fromhex(task["key"]))]
    epoch = datetime(2026, 1, 1, tzinfo=timezone.utc)
    ring = KeyRing(lambda *_: keys, epoch, epoch + timedelta(days=366))
    bucket = Path(task["folder"]) / "bucket"
    digests = [digest_key(str(path.relative_to(bucket))) for path in bucket.rglob("*CloudTrail-Digest_*")]

    def fetch(key: DigestKey) -> FetchedDigest | None:
        started = time.monotonic()
        found = fetch_digest(store, "bench", key)
        pool.took(time.monotonic() - started)
        return found

    yield
    valid = 0
    with BucketThreads() as pool:
        for found in pool.map(fetch, filter(None, digests), ahead=32):
            assert found is not None
            assert found.signature is not None
            valid += signature_fault(found, found.signature, ring) is None
    yield {"rows": valid}


class Clock:
    """
    Adds up the seconds that are spent in some functions, and the CPU seconds of the threads that call them.

    Threads wait for one another (Python's lock) and for the bucket: the former hold more than the latter, which in
    turn lack what an engine does in threads of its own.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            cpu, started = time.thread_time(), time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._add(name, time.perf_counter() - started, time.thread_time() - cpu)

        return call

    def timed_pages(self, name: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def call(*arguments: Any, **named: Any) -> Iterator[Any]:
            items = function(*arguments, **named)
            # Not each item: that would take as long as what is timed.
            page_of = self.timed(name, lambda: list(islice(items, _PAGE)))
            while page := page_of():
                yield from page

        return call

    def _add(self, name: str, seconds: float, cpu: float) -> None:
        with self._lock:
            self.seconds[name] += seconds  # type: ignore[assignment]
            self.cpu[name] += cpu  # type: ignore[assignment]
            self.calls[name] += 1


def _warehouse(path: str) -> Any:
    from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
    from tests.support.engines import DuckDBHook

    return open_warehouse(DuckDBHook(str(Path(path).resolve())), "audit")
