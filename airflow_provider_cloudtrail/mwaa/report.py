"""What is printed: lines for people, with colours where rich is installed, or one JSON document for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.mwaa.manifest import Manifest
from airflow_provider_cloudtrail.mwaa.permissions import Checked, policy
from airflow_provider_cloudtrail.mwaa.pinned import PinnedFile
from airflow_provider_cloudtrail.mwaa.plan import ADD, CHANGE, CONFLICT, REMOVE, Plan
from airflow_provider_cloudtrail.mwaa.verify import Verified

_SIGNS = {ADD: "+", CHANGE: "~", REMOVE: "-", CONFLICT: "!"}
_COLOURS = {"+": "green", "~": "yellow", "-": "red", "!": "bold red"}


def stand_any_output() -> None:
    """Have no output end a command half done: one that was closed, or that lacks characters of what is said."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as it runs
    # Not what has been put in its place, as by a notebook.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_lines(lines: Sequence[str]) -> None:
    """Print lines; the sign in front of a change gives it its colour on a terminal."""
    console = _console() if sys.stdout.isatty() else None
    for line in lines:
        if console is None:
            print(line)
        else:
            console.print(line, style=_COLOURS.get(line.strip()[:1]), markup=False, highlight=False, soft_wrap=True)


def print_json(document: dict[str, Any]) -> None:
    """Print a document."""
    print(json.dumps(document, indent=2, sort_keys=True))


def say(line: str) -> None:
    """Print progress, beside the result."""
    print(line, file=sys.stderr, flush=True)


def _console() -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()


# -- the environment ---------------------------------------------------------------------------------


def environment_lines(environment: Environment) -> list[str]:
    """Describe an environment."""
    last = environment.last_update
    lines = [
        f"Environment {environment.name}: {environment.status}, Airflow {environment.airflow_version}",
        f"  {environment.environment_class}, web server {environment.web_access}, {len(environment.subnets)} subnets",
        f"  DAG folder s3://{environment.bucket}/{environment.dags_path}, role {environment.execution_role}",
    ]
    for kind, pinned in (("requirements.txt", environment.requirements), ("plugins.zip", environment.plugins)):
        if pinned:
            lines.append(f"  {kind} s3://{environment.bucket}/{pinned.key}, version {pinned.version or 'not pinned'}")
    if last.status and last.status != "SUCCESS":
        lines.append(f"  last update {last.status}{f': {last.error}' if last.error else ''}")
    return lines


def environment_document(environment: Environment) -> dict[str, Any]:
    """Return an environment for JSON, without its configuration options, which may be secret."""
    document = {name: value for name, value in vars(environment).items() if name != "options"}
    for name in ("requirements", "plugins", "last_update"):
        document[name] = document[name]._asdict() if document[name] is not None else None
    return document


# -- a plan ------------------------------------------------------------------------------------------


def plan_lines(plan: Plan, manifest: Manifest, environment: Environment) -> list[str]:
    """Describe a plan as a difference."""
    before = manifest.environments.get(environment.name)
    lines = [f"Mode {plan.bundle.mode}; deployed: {f'{manifest.version} in mode {before}' if before else 'nothing'}"]
    if manifest.pending is not None:
        lines.append("  a deployment was interrupted, deploy finishes it")
    for change in plan.objects:
        if sign := _SIGNS.get(change.action):
            size = f" ({len(change.content)} bytes)" if change.content is not None else ""
            lines.append(f"  {sign} {change.key}{size}")
    for file in plan.files:
        lines += _file_lines(file)
    lines += [f"  ~ option cloudtrail.{name} = {value}" for name, value in plan.options.items()]
    if plan.update_reasons:
        lines.append(f"Environment update: needed ({', '.join(plan.update_reasons)}), 20 to 30 minutes")
        lines.append("  running tasks finish first (worker replacement strategy GRACEFUL)")
    elif plan.has_changes:
        lines.append("Environment update: not needed, the DAG folder is synchronised within 30 seconds")
    else:
        lines.append("Nothing to do.")
    return lines + [f"Warning: {warning}" for warning in plan.warnings]


def _file_lines(file: PinnedFile) -> list[str]:
    lines = [f"  {'~' if file.configured else '+'} {file.key}"] if file.needs_update else []
    lines += [f"  ! {name} in {file.key}" for name in file.conflicts]
    for sign, names in zip("+~-", file.difference, strict=True):
        lines += [f"    {sign} {name}" for name in names]
    return lines


def plan_document(plan: Plan, manifest: Manifest, environment: Environment) -> dict[str, Any]:
    """Return a plan for JSON."""
    return {
        "environment": environment_document(environment),
        "mode": plan.bundle.mode,
        "deployed_mode": manifest.environments.get(environment.name),
        "deployed_version": manifest.version or None,
        "interrupted": manifest.pending is not None,
        "objects": [{"action": change.action, "key": change.key} for change in plan.object_changes],
        "files": [
            {"file": file.kind, "key": file.key, "needs_update": file.needs_update, **file.difference._asdict()}
            for file in plan.files
        ],
        "options": plan.options,
        "update": list(plan.update_reasons),
        "conflicts": list(plan.conflicts),
        "warnings": list(plan.warnings),
        "changes": plan.has_changes,
    }


# -- permissions -------------------------------------------------------------------------------------


def permission_lines(checked: Sequence[Checked], reason: str | None) -> list[str]:
    """Say what the execution role lacks."""
    lacking = [entry for entry in checked if entry.lacking]
    unknown = [entry for entry in checked if entry.lacking is None]
    lines = [
        f"The execution role lacks {', '.join(entry.lacking or ())} on {entry.resource} ({entry.statement.feature})"
        for entry in lacking
    ]
    if unknown:
        why = reason or "name what you can with --trail-bucket, --trail and --queue, fill in what is YOUR-... below"
        lines.append(f"Not checked ({why}): {', '.join(entry.statement.sid for entry in unknown)}")
    if lacking or unknown:
        lines += ["Statements for the execution role:", json.dumps(policy(checked), indent=2)]
    elif checked:
        lines.append("The execution role has all permissions that are needed.")
    return lines


def permission_document(checked: Sequence[Checked], reason: str | None) -> dict[str, Any]:
    """Return what the execution role lacks, for JSON."""
    return {
        "lacking": [
            {"sid": c.statement.sid, "actions": c.lacking, "resource": c.resource} for c in checked if c.lacking
        ],
        "not_checked": [c.statement.sid for c in checked if c.lacking is None],
        "reason": reason,
        "policy": policy(checked),
    }


# -- verification ------------------------------------------------------------------------------------


def verified_lines(found: Verified) -> list[str]:
    """Describe what the environment's Airflow says."""
    lines = [f"  {dag_id}: {state}" for dag_id, state in found.dags.items()]
    lines.append(f"  provider: {found.provider or 'not listed (a copied package never is)'}")
    if found.other_import_errors:
        lines.append(f"  {found.other_import_errors} import errors of other DAG files")
    if any(state == "paused" for state in found.dags.values()):
        lines.append("  a paused DAG does not run until it is switched on in the Airflow UI")
    return lines + ([f"! {problem}" for problem in found.problems] or ["All is well."])
