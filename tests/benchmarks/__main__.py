"""
The benchmark: this project beside what users would pick instead, side by side in one run.

``make bench`` runs all of it at full scale; ``make bench BENCH='--scale 0.05'`` takes minutes. Nothing here is a test
of seconds: ``make test`` asserts counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import face, report
from tests.benchmarks.corpora import CORPORA, Written, write
from tests.benchmarks.evidence import prepare as prepare_evidence
from tests.benchmarks.finished import finished_rows
from tests.benchmarks.runner import PEERS, ROOT, Contestant, contest, counted, run_once, s3_server
from tests.support.postgres import postgres_server

OURS = "contestants"
PROJECT = "this project"
BARE = "this project, without accelerators"
FLOOR = "gunzip (isal) + SHA-256: the floor"
SLOW = 0.05
"""
Seconds that a server takes to answer where it stands for S3, of which a GET of a small object is said to take 100 ms
and more (S3 user guide, "Performance design patterns").
"""

READING = (
    Contestant("gunzip only (isal)", f"{OURS}:gunzip"),
    Contestant(FLOOR, f"{OURS}:floor"),
    Contestant(PROJECT, f"{OURS}:project_reading"),
    Contestant(f"{PROJECT}, rows and ledger into DuckDB", f"{OURS}:project_duckdb"),
    Contestant(BARE, f"{OURS}:project_reading", more={"bare": True}),
    Contestant("stdlib gzip + json, 2 processes", "peers:stdlib", peer=True, processes=2),
    Contestant("gzip + orjson, 2 processes", "peers:orjson", peer=True, processes=2),
    Contestant("DuckDB read_json, maximum_depth=2", "peers:duckdb_read_json", peer=True, share=0.2),
    Contestant("DuckDB read_json_objects", "peers:duckdb_read_json_objects", peer=True),
    Contestant("pandas json_normalize, 2 processes", "peers:pandas", peer=True, share=0.05, processes=2),
    Contestant("polars read_json", "peers:polars", peer=True),
)
INTO_DUCKDB = (
    Contestant("DuckDB, finished rows from Parquet: the floor", f"{OURS}:duckdb_floor"),
    # What an export may take, see the goals in RESULTS.md; below that DuckDB refuses.
    Contestant("DuckDB, the same within 300 MB", f"{OURS}:duckdb_floor", more={"memory": "300MB"}),
    Contestant(PROJECT, f"{OURS}:project_duckdb", more={"all": True}),
    Contestant(BARE, f"{OURS}:project_duckdb", more={"all": True, "bare": True}),
    Contestant("DuckDB read_json, primary key, 14 columns", "peers:duckdb_load", peer=True),
    Contestant("dlt, merge, max_table_nesting=0", "peers:dlt", peer=True, share=0.1),
)
INTO_POSTGRES = (
    Contestant("COPY of finished rows: the floor", f"{OURS}:postgres_floor"),
    Contestant(PROJECT, f"{OURS}:project_postgres", more={"all": True}),
    Contestant("awswrangler, 7 columns", "peers:awswrangler", peer=True, share=0.05),
)
INTO_ICEBERG = (
    Contestant("pyiceberg, append of finished rows: the floor", f"{OURS}:iceberg_floor"),
    Contestant("pyiceberg, the same in parts", f"{OURS}:iceberg_floor_in_parts"),
    Contestant(PROJECT, f"{OURS}:project_iceberg", more={"all": True}),
)
OVER_S3 = (
    Contestant("boto3, 16 threads: get and gunzip, nothing else", f"{OURS}:boto3_threads"),
    Contestant(f"{PROJECT}, rows and ledger into DuckDB", f"{OURS}:project_duckdb"),
    Contestant(PROJECT, f"{OURS}:project_reading"),
    Contestant(BARE, f"{OURS}:project_reading", more={"bare": True}),
)
ALL_OVER_S3 = (
    Contestant(f"{PROJECT}, into DuckDB", f"{OURS}:project_duckdb", more={"all": True}),
    Contestant(f"{PROJECT}, into PostgreSQL", f"{OURS}:project_postgres", more={"all": True}),
    Contestant(f"{PROJECT}, into Iceberg", f"{OURS}:project_iceberg", more={"all": True}),
)


@dataclass(frozen=True)
class Bench:
    """What a run was asked for, and where it works."""

    data: Path
    scratch: Path
    scale: float
    rounds: int
    postgres: str

    def corpus(self, name: str, scale: float | None = None) -> Written:
        return write(CORPORA[name], self.data, self.scale if scale is None else scale)

    def task(self, written: Written, **more: Any) -> dict[str, Any]:
        return {"folder": written.folder, "scratch": str(self.scratch), "postgres": self.postgres, **more}


def reading(bench: Bench, name: str) -> Iterator[str]:
    written = bench.corpus(name)
    title = f"{name}: {written.files} files, {written.unpacked / 1e6:,.0f} MB of JSON, {written.events} events of MWAA"
    figures = contest(READING, bench.task(written), bench.rounds)
    yield from report.section(title, figures, written.unpacked / 1e6, "MB", FLOOR)


def small(bench: Bench) -> Iterator[str]:
    written = bench.corpus("small")
    title = f"small, over S3: {written.files} files, {written.records} records, {written.events} events of MWAA"
    with s3_server(written.folder) as endpoint:
        counted(endpoint)
        figures = contest(OVER_S3, bench.task(written, endpoint=endpoint), bench.rounds)
    yield from report.section(title, figures, written.files, "files", None)
    tenth = bench.corpus("small", bench.scale / 10)
    with s3_server(tenth.folder, delay=SLOW) as endpoint:
        counted(endpoint)
        figures = contest(OVER_S3[:3], bench.task(tenth, endpoint=endpoint), bench.rounds)
    title = f"a tenth of small, {SLOW * 1000:.0f} ms for each answer: {tenth.files} files"
    yield from report.section(title, figures, tenth.files, "files", None)


def growth(bench: Bench) -> Iterator[str]:
    """Memory over ten times as many files; and what a second run asks for."""
    contestant = Contestant(f"{PROJECT}, a tenth of small over S3", f"{OURS}:project_duckdb")
    tenth = bench.corpus("small", bench.scale / 10)
    with s3_server(tenth.folder) as endpoint:
        counted(endpoint)
        database = {"database": str(bench.scratch / "again.duckdb")}
        task = bench.task(tenth, endpoint=endpoint, **database)
        yield from report.section(
            f"a tenth of small: {tenth.files} files", contest([contestant], task, 1), tenth.files, "files", None
        )
        again = Contestant(f"{PROJECT}, the same again", f"{OURS}:project_duckdb")
        yield from report.section("run again", contest([again], task, 1), tenth.files, "files", None)


def full_load(bench: Bench) -> Iterator[str]:
    written = bench.corpus("all")
    title = f"{written.records} records, {written.distinct} events"
    with s3_server(written.folder) as endpoint:
        finished = finished_rows(bench.data, written, bench.postgres)
        # The server is for awswrangler, which reads S3 only.
        task = bench.task(written) | finished
        figures = contest(INTO_DUCKDB, task, bench.rounds)
        yield from report.section(f"all, into DuckDB: {title}", figures, written.records, "records", None)
        figures = contest(INTO_POSTGRES, task | {"s3": endpoint}, bench.rounds)
        yield from report.section(f"all, into PostgreSQL: {title}", figures, written.records, "records", None)
        figures = contest(INTO_ICEBERG, task, bench.rounds)
        yield from report.section(f"all, into Iceberg: {title}", figures, written.records, "records", None)


def slow(bench: Bench) -> Iterator[str]:
    """Large files over a server that takes its time: what is fetched ahead takes memory."""
    for name, contestants in (("sparse", OVER_S3[1:2]), ("dense", OVER_S3[1:2]), ("all", ALL_OVER_S3)):
        written = bench.corpus(name)
        with s3_server(written.folder, delay=SLOW) as endpoint:
            counted(endpoint)
            figures = contest(contestants, bench.task(written, endpoint=endpoint), bench.rounds)
        title = f"{name}, {SLOW * 1000:.0f} ms for each answer: {written.files} files"
        yield from report.section(title, figures, written.files, "files", None)


def validation(bench: Bench) -> Iterator[str]:
    """
    The validation beside what bounds it: the same digests fetched and verified, nothing else.

    Over a server that answers at once, and over one that takes the time of S3.
    """
    profiles = []
    for digests, delay in ((500, 0.0), (2_000, 0.0), (2_000, SLOW)):
        written = prepare_evidence(bench.data, max(48, round(digests * bench.scale) // 24 * 24))
        said = f"{written['digests']} digests, {written['files']} log files"
        if delay:
            said += f", {delay * 1000:.0f} ms for each answer"
        with s3_server(f"{written['folder']}/bucket", f"{written['folder']}/metadata.json", delay) as endpoint:
            task = {**written, "endpoint": endpoint, "scratch": str(bench.scratch)}
            counted(endpoint)
            contestants = (
                Contestant("GET and RSA of the digests alone: the floor", "evidence:signatures"),
                Contestant(PROJECT, "evidence:validation"),
            )
            figures = contest(contestants, task, bench.rounds)
        title = f"validation over S3, ledger in DuckDB: {said}"
        yield from report.section(title, figures, written["files"], "files", None)
        profile = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in figures[1].result["profile"].items())
        profiles.append(f"profile of {said}: {profile}, of {figures[1].seconds:.1f} s")
    for profile in profiles:
        yield report.row(profile, *[""] * (len(report.HEAD) - 1))


def organization(bench: Bench) -> Iterator[str]:
    """A day of an organization trail, at the latency of S3 and without: 40 accounts, each with the same 12 Regions."""
    accounts = max(2, round(40 * bench.scale))
    places = [(f"{number:012d}", f"eu-west-{region}") for number in range(1, accounts + 1) for region in range(1, 13)]
    written = prepare_evidence(bench.data, 24, places, files_per_digest=0.25)
    contestants = (
        Contestant(f"{PROJECT}, listing alone", f"{OURS}:listing"),
        Contestant(f"{PROJECT}, export into DuckDB", f"{OURS}:project_duckdb"),
        Contestant(f"{PROJECT}, validation", "evidence:validation"),
    )
    for delay in (0.0, SLOW):
        with s3_server(f"{written['folder']}/bucket", f"{written['folder']}/metadata.json", delay) as endpoint:
            task = {**written, "endpoint": endpoint, "scratch": str(bench.scratch)}
            counted(endpoint)
            figures = contest(contestants, task, bench.rounds)
        title = f"{len(places)} accounts and Regions, {delay * 1000:.0f} ms for each answer: {written['files']} files"
        yield from report.section(title, figures, written["files"], "files", None)


def airflow(bench: Bench) -> Iterator[str]:
    milliseconds = sorted(face.import_milliseconds() for _ in range(max(3, bench.rounds)))
    median = milliseconds[len(milliseconds) // 2]
    blank = [""] * (len(report.HEAD) - 2)
    yield report.row("**Airflow**", "", *blank)
    yield report.row(
        "import of an example DAG beyond Airflow and the amazon base classes", f"{median / 1000:.3f}", *blank
    )
    tenth = bench.corpus("small", bench.scale / 10)
    with s3_server(tenth.folder) as endpoint:
        for pokes in (20, 200):
            counted(endpoint)
            task = {"endpoint": endpoint, "pokes": pokes, "scratch": str(bench.scratch)}
            said = run_once(Contestant("sensor", "face:poke"), task)
            requests = ", ".join(f"{number} {method}" for method, number in sorted(counted(endpoint).items()))
            name = f"sensor, {pokes} + 1 pokes, 2 accounts x 2 Regions, nothing there"
            above = f"{said['above_idle'] / report.MIB:.0f}"
            yield report.row(name, f"{said['seconds']:.2f}", "", "", "", f"{said['cpu']:.2f}", "", above, requests)


def waiting(bench: Bench) -> Iterator[str]:
    """Sensors that wait in one triggerer process for a minute, looking every 20 seconds."""
    contestants = (
        Contestant("amazon provider, S3KeySensor deferred", "waiting:s3_key"),
        Contestant(f"{PROJECT}, CloudTrailLogFileSensor deferred", "waiting:project"),
    )
    written = bench.corpus("small", bench.scale / 10)
    for sensors in (round(100 * bench.scale) or 1, round(1_000 * bench.scale) or 10):
        with s3_server(written.folder) as endpoint:
            counted(endpoint)
            more = {"sensors": sensors, "poke_interval": 20.0, "seconds": 60.0}
            figures = contest(contestants, bench.task(written, endpoint=endpoint, **more), 1)
        yield from report.section(f"{sensors} deferred sensors for 60 s", figures, sensors, "sensors", None)


SECTIONS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "sparse": lambda bench: reading(bench, "sparse"),
    "dense": lambda bench: reading(bench, "dense"),
    "small": small,
    "growth": growth,
    "all": full_load,
    "slow": slow,
    "validation": validation,
    "organization": organization,
    "airflow": airflow,
    "waiting": waiting,
}


def set_up_peers() -> None:
    """Bring the peers' environment up to date."""
    pins = ROOT / "tests" / "benchmarks" / "peers.txt"
    if not (PEERS / "bin" / "python").exists():
        venv.create(PEERS, clear=True)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "-q", "-p", PEERS / "bin" / "python", "-r", pins], check=True)


def main() -> int:
    """Run the benchmark, or some sections of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"all of {', '.join(SECTIONS)} if none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files of each corpus (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (default: 3)")
    parser.add_argument("--output", type=Path, help="file for the table, in Markdown")
    parser.add_argument("--data", type=Path, default=ROOT / ".bench" / "data", help="folder for the corpora")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    set_up_peers()
    conditions = (
        f"Scale {arguments.scale:g}, medians of {arguments.rounds} runs in turns, {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}."
    )
    lines = [
        conditions,
        "",
        *report.head(),
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="cloudtrail-bench-") as scratch, postgres_server(over_tcp=True) as postgres:
        for name in arguments.sections or SECTIONS:
            bench = Bench(arguments.data, Path(scratch) / name, arguments.scale, arguments.rounds, postgres)
            bench.scratch.mkdir()
            for line in SECTIONS[name](bench):
                print(line, flush=True)
                lines.append(line)
            shutil.rmtree(bench.scratch)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
