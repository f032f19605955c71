"""
The demo: a trail behind a real S3 API, the daily DAG in a real Airflow, a DuckDB file that answers an auditor.

``python -m airflow_provider_cloudtrail.demo`` needs the extra ``demo`` and no network.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from airflow_provider_cloudtrail.demo.airflow_home import AirflowHome, DemoError
from airflow_provider_cloudtrail.demo.digests import SigningKey
from airflow_provider_cloudtrail.demo.expected import Expected, expected
from airflow_provider_cloudtrail.demo.integrity import damage, described, prove
from airflow_provider_cloudtrail.demo.layout import layout
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.report import Balance, answers, balance, count_rows, open_database
from airflow_provider_cloudtrail.demo.server import s3_server, upload

_DAG = "mwaa_audit_export_daily"


def main(arguments: list[str] | None = None) -> int:
    """
    Run the demo.

    :param arguments: of the command line.
    :return: 0 if all is well.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_cloudtrail.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where everything is kept")
    parser.add_argument("--dags", type=Path, default=_dags_folder(), help="folder of the example DAGs")
    options = parser.parse_args(arguments)
    plan = TrailPlan()
    database = options.folder / "audit.duckdb"
    try:
        before = _rows_before(database)
        proof = _load(plan, options.folder, options.dags, database)
        with open_database(database) as connection:
            found = balance(connection)
            for answer in answers(connection):
                print(f"\n{answer}")
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"\n{proof}")
    problems = _print_balance(found, expected(plan))
    print(f"\n{_added(before, found.rows)}\n\n{_how_to_open(database)}")
    for problem in problems:
        print(f"\nFAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _load(plan: TrailPlan, folder: Path, dags: Path, database: Path) -> str:
    """Serve the trail, run the DAG, and return what the digests prove."""
    if not (dags / f"{_DAG}.py").is_file():
        raise DemoError(f"there is no {_DAG}.py in {dags}: run this in the repository, or say where with --dags")
    _make(folder)
    with s3_server() as server:
        airflow = AirflowHome(
            folder.resolve(),
            dags.resolve(),
            connections={
                "aws_default": server.connection(),
                "cloudtrail_warehouse": {"conn_type": "duckdb", "host": str(database.resolve())},
            },
            options={
                ("cloudtrail", "bucket"): plan.bucket,
                # Some of the trail is damaged on purpose.
                ("cloudtrail", "fail_on_quarantine"): "False",
            },
        )
        files = [file for files_of_place in layout(plan).values() for file in files_of_place]
        with _step(
            f"A trail of {len(plan.accounts)} accounts, {len(plan.regions)} Regions, {plan.days} days: {len(files):,} "
            f"log files, {sum(file.records for file in files):,} records, signed digests"
        ):
            key = SigningKey.generate()
            upload(plan, server.client(), key)
        with _step("Airflow's own database"):
            airflow.prepare()
        for number in range(plan.days):
            day = plan.first_day + timedelta(days=number)
            with _step(f"DAG {_DAG}, run of {day}"):
                airflow.run_day(_DAG, day)
        with _step("The log files against the signed digests, before and after some damage"):
            intact = prove(plan, server.client(), key, database)
            # In a copy: what the demo does to its trail is not to be kept.
            with tempfile.TemporaryDirectory() as scratch:
                copy = Path(shutil.copy(database, scratch))
                damage(plan, server.client(), expected(plan))
                return described(intact, prove(plan, server.client(), key, copy))


def _make(folder: Path) -> None:
    """Create the folder that everything is kept in, unless it is there."""
    if set(str(folder.resolve())) & set("%$"):
        raise DemoError(f"Airflow cannot live in {folder.resolve()}, because of the % or $; name another with --folder")
    try:
        (folder / "airflow").mkdir(parents=True, exist_ok=True)
        # Permissions do not tell everything: it may be full, or mounted for reading only.
        with tempfile.TemporaryFile(dir=folder / "airflow") as probe:
            probe.write(b"x")
    except OSError as error:
        raise DemoError(f"nothing can be kept in {folder}: {error}; name another folder with --folder") from None


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"{what} ... ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed")
        raise
    print(f"{time.monotonic() - started:.1f} s")


def _rows_before(database: Path) -> int:
    if not database.exists():
        return 0
    import duckdb

    try:
        return count_rows(database)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise DemoError(f"{database} cannot be read; close what has it open, or remove it. {reason}") from None


def _print_balance(found: Balance, planted: Expected) -> list[str]:
    """Print what became of all records, and return what is wrong with it."""
    problems = []
    if not found.holds:
        problems.append(f"the ledger does not balance: {found.unbalanced_files} files; {found}")
    if found.rows != planted.rows:
        problems.append(
            f"the trail holds {planted.rows} wanted events, the table {found.rows}; if the folder was filled by "
            "another version of the demo, remove it"
        )
    print(
        f"\nThe ledger: is every record accounted for?\n"
        f"  {found.files:,} log files = {found.parsed:,} parsed + {found.no_match:,} that name no wanted service "
        f"+ {found.files_quarantined:,} in quarantine\n"
        f"  {found.records:,} records = {found.loaded:,} loaded + {found.duplicate:,} duplicate "
        f"+ {found.filtered:,} filtered + {found.quarantined:,} in quarantine  {_mark(found.holds)}\n"
        f"  {found.rows:,} rows in the table, {planted.rows:,} wanted events in the trail  "
        f"{_mark(found.rows == planted.rows)}"
    )
    return problems


def _mark(good: bool) -> str:
    return "✓" if good else "✗ DOES NOT BALANCE"


def _added(before: int, after: int) -> str:
    if before == 0:
        return f"This run added {after:,} rows. Run it again: a second run adds nothing."
    if before == after:
        return f"This run added nothing: {before:,} rows before, {after:,} after. Each event is in the table once."
    return f"This run added {after - before:,} rows: {before:,} before, {after:,} after."


def _how_to_open(database: Path) -> str:
    query = "SELECT event_time, event_name, environment_name, actor_arn FROM mwaa_audit_events ORDER BY 1 DESC"
    code = f"import duckdb; duckdb.connect({str(database)!r}, read_only=True).sql('{query}').show()"
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"The table is in {database}. To look into it:\n\n  {shlex.quote(str(python))} -c {_quoted(code)}"


def _quoted(code: str) -> str:
    return f'"{code}"' if not set(code) & set('"$`\\!') else shlex.quote(code)


def _dags_folder() -> Path:
    """Return the example DAGs of the repository that this package is used from."""
    beside = Path(__file__).resolve().parents[2] / "dags"
    return beside if beside.is_dir() else Path("dags")


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # What would end this process at once ends what it has started, too.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
