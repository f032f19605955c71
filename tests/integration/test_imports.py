"""What the package's modules import, each measured in a process of its own."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_cloudtrail
from tests.support.engines import installed

PACKAGE = airflow_provider_cloudtrail.__name__
SOURCES = Path(airflow_provider_cloudtrail.__file__).parent
DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))

FACE = ("hooks", "links", "operators", "sensors", "transfers", "triggers")
# What the DAG processor must not pay for, whatever a task does later.
HEAVY = {"pyarrow", "pandas", "duckdb", "psycopg", "psycopg2", "obstore"}
# Airflow itself brings some of them, so it comes first and what it brought is not counted.
AIRFLOW_ALONE = """
import importlib, airflow
for name in ("hooks.base_aws", "operators.base_aws", "sensors.base_aws", "links.base_aws"):
    importlib.import_module("airflow.providers.amazon.aws." + name)
importlib.import_module("airflow.providers.common.sql.hooks.sql")
"""


def python(code: str, *arguments: str) -> dict[str, list[str]]:
    """Run code in a fresh process; return the JSON that it prints as its last line."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def modules_of(*folders: str) -> list[str]:
    """Return the modules in folders of the package, or of the whole package."""
    found = [info.name for info in pkgutil.walk_packages([str(SOURCES)], f"{PACKAGE}.")]
    return [name for name in found if not folders or name.split(".")[1] in folders]


def imports_of(path: Path) -> set[str]:
    """Return what a source file imports at module level, also under ``if`` and ``try``, but not in functions."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_type_checking(node):
            pending.extend(ast.iter_child_nodes(node))
    return names


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_part_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize(
    "module",
    [
        PACKAGE,
        f"{PACKAGE}.get_provider_info",
        f"{PACKAGE}.audit_event",
        *modules_of("export"),
        *modules_of("trail"),
        *modules_of("warehouse"),
    ],
)
def test_module_imports_no_airflow(module: str) -> None:
    loaded = python(
        "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(list(sys.modules)))",
        module,
    )
    assert [name for name in loaded if is_part_of(name, "airflow")] == []


def test_face_imports_nothing_heavy() -> None:
    modules = modules_of(*FACE)
    assert f"{PACKAGE}.hooks.cloudtrail" in modules
    if not installed("airflow.triggers.shared_stream"):
        modules.remove(f"{PACKAGE}.triggers.acknowledged")  # of Airflow 3.3, and imported there only
    loaded = python(
        AIRFLOW_ALONE
        + """
import json, sys
heavy, before, added = set(json.loads(sys.argv[1])), set(sys.modules), {}
for name in sys.argv[2:]:
    importlib.import_module(name)
    added[name] = sorted(heavy & set(sys.modules) - before)
    before |= set(sys.modules)
print(json.dumps(added))
""",
        json.dumps(sorted(HEAVY)),
        *modules,
    )
    assert loaded == {name: [] for name in modules}


def test_wings_know_nothing_of_each_other() -> None:
    for wing, other in (("trail", "warehouse"), ("warehouse", "trail")):
        for path in sorted((SOURCES / wing).rglob("*.py")):
            wrong = [name for name in imports_of(path) if is_part_of(name, f"{PACKAGE}.{other}")]
            assert wrong == [], path


def test_wings_know_nothing_of_what_is_above() -> None:
    above = [*(f"{PACKAGE}.{folder}" for folder in (*FACE, "demo")), f"{PACKAGE}.export", "airflow"]
    for wing in ("trail", "warehouse", "audit_event.py"):
        path = SOURCES / wing
        for source in [path] if path.is_file() else sorted(path.rglob("*.py")):
            wrong = [name for name in imports_of(source) if any(is_part_of(name, upper) for upper in above)]
            assert wrong == [], source


def test_no_module_leads_back_to_itself() -> None:
    """Not within functions and for the type checker either, where Python would not mind."""
    modules = set(modules_of())
    needs: dict[str, set[str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        tree = ast.walk(ast.parse(path.read_text()))
        named = [(node.module, alias.name) for node in tree if isinstance(node, ast.ImportFrom) for alias in node.names]
        imported = {f"{module}.{name}" if f"{module}.{name}" in modules else module for module, name in named}
        needs[".".join(path.relative_to(SOURCES.parent).with_suffix("").parts)] = imported & modules
    assert needs[f"{PACKAGE}.export.log_files"]
    TopologicalSorter(needs).prepare()


@pytest.mark.parametrize("dag_file", DAGS, ids=lambda path: path.stem)
def test_dag_file_is_parsed_without_network_and_database(dag_file: Path) -> None:
    """Parsed anew every few seconds, a DAG file that asks anybody would cost money and wait for time-outs."""
    used = python(
        AIRFLOW_ALONE
        + """
import json, runpy, sys
used = []
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "sqlite3.connect"):
        used.append(f"{event} {arguments[1:]}")
sys.addaudithook(note)
tasks = [value for value in runpy.run_path(sys.argv[1]).values() if hasattr(value, "downstream_task_ids")]
print(json.dumps({"asked": used, "dags": sorted({task.dag_id for task in tasks})}))
""",
        str(dag_file),
    )
    assert used == {"asked": [], "dags": [dag_file.stem]}


@pytest.mark.parametrize(
    ("wait_for", "task"),
    [("", "wait_for_log_files"), ("files", "wait_for_log_files"), ("digests", "wait_for_digests")],
)
def test_daily_dag_waits_for_what_the_configuration_says(
    monkeypatch: pytest.MonkeyPatch, wait_for: str, task: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__WAIT_FOR", wait_for)
    # Both are set where the integrity DAG checks the trail; operators take one of them.
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__BUCKET", "example-trail")
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__TRAIL_NAME", "audit")
    (daily,) = (path for path in DAGS if path.stem == "mwaa_audit_export_daily")
    found = python(
        """
import json, runpy, sys
tasks = {id(task): task for task in runpy.run_path(sys.argv[1]).values() if hasattr(task, "task_id")}.values()
print(json.dumps({task.task_id: [*task.upstream_task_ids, task.bucket, task.trail_name] for task in tasks}))
""",
        str(daily),
    )
    assert found == {
        task: ["example-trail", None],
        "export_audit_events": [task, "example-trail", None],
    }


def test_there_are_dag_files() -> None:
    assert {path.stem for path in DAGS} >= {"mwaa_audit_export_daily", "mwaa_audit_export_organization"}
