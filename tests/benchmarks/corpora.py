"""
The corpora of the benchmark, made with the parts of the demo's generator: equal scales give equal files.

Each is a folder that is a copy of a trail bucket. The generator's own plan decides where events lie; here the
benchmark says so, because the share of files with an event of MWAA is what a corpus is about.
"""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_cloudtrail.demo import mwaa
from airflow_provider_cloudtrail.demo.background import background
from airflow_provider_cloudtrail.demo.callers import cast
from airflow_provider_cloudtrail.demo.records import Stage, iso

START = datetime(2026, 2, 3, tzinfo=timezone.utc)
ACCOUNTS = ("111122223333", "444455556666")
REGIONS = ("eu-west-1", "us-east-1")
_GZIP = 31
_LEVEL = 6
_WORKERS = 2


@dataclass(frozen=True)
class Corpus:
    """
    What a corpus is like at full scale.

    :param files: number of log files.
    :param records: returns the number of records of a file.
    :param matching: share of the files that hold events of MWAA.
    :param events: number of them in such a file.
    :param copies: share of the files whose first record is one of the file before: delivered twice.
    """

    name: str
    files: int
    records: Callable[[random.Random], int]
    matching: float
    events: int
    copies: float = 0.0


CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus("sparse", 1_000, lambda rng: rng.randrange(1_000, 1_950), 0.02, 5),
        Corpus("dense", 1_000, lambda rng: rng.randrange(1_000, 1_950), 1.0, 5),
        # The mean is 2.5 times the median, as in real buckets.
        Corpus("small", 20_000, lambda rng: max(1, round(10 * min(rng.lognormvariate(0, 1.35), 30))), 0.02, 1),
        Corpus("all", 300, lambda _: 1_000, 0.1, 5, copies=0.5),
    )
}


@dataclass(frozen=True)
class Written:
    """
    What a corpus on the disk holds.

    :param events: events of MWAA, each counted once.
    :param distinct: records, each counted once.
    :param unpacked: bytes, uncompressed.
    """

    folder: str
    files: int
    records: int
    distinct: int
    events: int
    unpacked: int
    packed: int


def write(corpus: Corpus, folder: Path, scale: float) -> Written:
    """
    Write a corpus, unless it is there already.

    :param folder: holds corpora of all scales.
    :param scale: share of the files.
    """
    target = folder / f"{corpus.name}-{scale:g}"
    said = target / "written.json"
    if said.exists():
        return Written(**json.loads(said.read_text()))
    shutil.rmtree(target, ignore_errors=True)
    number = max(4, round(corpus.files * scale))
    portion = -(-number // 32)
    portions = [range(start, min(start + portion, number)) for start in range(0, number, portion)]
    with ProcessPoolExecutor(_WORKERS) as pool:
        parts = list(
            pool.map(
                _write_portion,
                [corpus.name] * len(portions),
                [str(target)] * len(portions),
                [number] * len(portions),
                portions,
            )
        )
    totals = [sum(column) for column in zip(*parts, strict=True)]
    written = Written(str(target), number, *totals)
    said.write_text(json.dumps(asdict(written)))
    return written


def _write_portion(name: str, target: str, number: int, indexes: range) -> tuple[int, int, int, int, int]:
    corpus = CORPORA[name]
    folder = Path(target)
    records = distinct = events = unpacked = packed = 0
    for index in indexes:
        bodies, key, wanted, copied = _log_file(corpus, index, number)
        document = b'{"Records":[' + b",".join(bodies) + b"]}"
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        content = stream.compress(document) + stream.flush()
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        records += len(bodies)
        distinct += len(bodies) - copied
        events += wanted
        unpacked += len(document)
        packed += len(content)
    return records, distinct, events, unpacked, packed


def _log_file(corpus: Corpus, index: int, number: int) -> tuple[list[bytes], str, int, int]:
    rng = random.Random(f"{corpus.name}:{index}")
    account, region = ACCOUNTS[index % 2], REGIONS[index // 2 % 2]
    stamp = START + timedelta(minutes=int(index * 1439 / number))
    bodies = background(account, region, rng, stamp, corpus.records(rng)).records
    wanted = 0
    if index % max(1, round(1 / corpus.matching)) == 0:
        for event in _mwaa_events(Stage(account, region, rng), stamp, corpus.events):
            bodies.insert(rng.randrange(len(bodies) + 1), event)
            wanted += 1
    copied = 0
    if corpus.copies and index and index % max(1, round(1 / corpus.copies)) == 0:
        bodies.append(_first_record(corpus, index - 1, number))
        copied = 1
    unique = f"{index:016d}"
    name = f"{account}_CloudTrail_{region}_{stamp:%Y%m%dT%H%MZ}_{unique}.json.gz"
    return bodies, f"AWSLogs/{account}/CloudTrail/{region}/{stamp:%Y/%m/%d}/{name}", wanted, copied


def _first_record(corpus: Corpus, index: int, number: int) -> bytes:
    rng = random.Random(f"{corpus.name}:{index}")
    stamp = START + timedelta(minutes=int(index * 1439 / number))
    return background(ACCOUNTS[index % 2], REGIONS[index // 2 % 2], rng, stamp, corpus.records(rng)).records[0]


def _mwaa_events(stage: Stage, stamp: datetime, number: int) -> Iterator[bytes]:
    people = cast(stage.account, iso(stamp - timedelta(hours=1)))
    for event in range(number):
        moment = stamp - timedelta(seconds=stage.rng.randrange(60, 600))
        if event % 3 == 0:
            yield mwaa.create_token(stage, moment, people["kim"], "orders", "CreateWebLoginToken").body
        else:
            method, path = stage.rng.choice((("GET", "/dags"), ("POST", "/dags/daily/dagRuns"), ("GET", "/pools")))
            yield mwaa.rest_call(stage, moment, people["dana"], "orders", method, path).body
