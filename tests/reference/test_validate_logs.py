"""
Agreement with ``aws cloudtrail validate-logs`` on trails that were damaged one by one.

The client is installed into an environment of its own, because it pins its dependencies;
``AWSCLI_PYTHON`` names the interpreter of one that is there already.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailIntegrityError
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.reference.damaged_trails import CASES, MIDDLE
from tests.support.aws_stand_in import StandIn, stand_in
from tests.support.engines import SqliteHook
from tests.support.face import sqlite_warehouse
from tests.support.signed_trail import FIRST, HOUR, LAST, REGION, WINDOW, SignedTrail, signing_key

OLDEST_CLIENT = "1.45.12"

_DRIVER = """
import contextlib, io, json, os, sys
from awscli.clidriver import create_clidriver
for line in sys.stdin:
    case = json.loads(line)
    os.environ.update(case["environment"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = create_clidriver().main(case["arguments"])
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


# -- the client ------------------------------------------------------------------------------------


def _client_python(folder: Path) -> str:
    if given := os.environ.get("AWSCLI_PYTHON"):
        return given
    python = folder / "bin" / "python"
    commands = [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", f"awscli>={OLDEST_CLIENT}"],
    ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return _skip(str(error))
        if done.returncode:
            return _skip((done.stderr or done.stdout).strip().splitlines()[-1])
    return str(python)


def _skip(why: str) -> str:
    warnings.warn(
        f"NOT TESTED: agreement with aws cloudtrail validate-logs; awscli is not installable: {why}", stacklevel=2
    )
    pytest.skip(f"awscli could not be installed: {why}")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[int, str, str]]]:
    python = _client_python(tmp_path_factory.mktemp("awscli") / "venv")
    process = subprocess.Popen(
        [python, "-c", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": os.defpath}
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        process.stdin.write(json.dumps({"arguments": arguments, "environment": environment}) + "\n")
        process.stdin.flush()
        code, out, err = json.loads(process.stdout.readline())
        return code, out, err

    yield ask
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="module")
def aws() -> Iterator[StandIn]:
    with stand_in() as served:
        yield served


_INVALID = re.compile(r"^(?:\(backfill\) )?(?:Digest|Log) file\ts3://[^/\s]+/(\S+)\tINVALID", re.MULTILINE)


def client_says(client: Callable[..., tuple[int, str, str]], aws: StandIn, trail: SignedTrail) -> set[str]:
    """Return the keys that the client calls INVALID."""
    arn = f"arn:aws:cloudtrail:eu-central-1:{trail.account}:trail/{trail.trail_name}"
    window = [f"--start-time={WINDOW[0]:%Y-%m-%dT%H:%M:%SZ}", f"--end-time={WINDOW[1]:%Y-%m-%dT%H:%M:%SZ}"]
    arguments = ["cloudtrail", "validate-logs", "--trail-arn", arn, *window, "--region", REGION, "--verbose"]
    code, out, err = client(arguments, aws.environment(trail.bucket))
    found = set(_INVALID.findall(err))
    assert code == (1 if found else 0), (out, err)
    assert "Results requested for" in out, (out, err)
    return found


# -- the operator ----------------------------------------------------------------------------------


class Verdict:
    """What the operator reported: keys by kind, and the rules that found something."""

    def __init__(self, summary: dict[str, Any], text: str, bucket: str) -> None:
        start = f"s3://{bucket}/"
        self.codes = {}
        for kind in ("invalid", "missing", "altered", "deleted"):
            for finding in summary["found"].get(kind, ()):
                uri, _, reason = finding.partition(": ")
                code = reason.partition(":")[0] if kind == "invalid" else kind
                self.codes[uri.removeprefix(start)] = code
        self.others = {
            kind for kind, count in (("gap", summary["gaps"]), ("unlisted", summary["files_unlisted"])) if count
        }
        if "no digest at all:" in text:
            self.others.add("no-digest")


def operator_says(trail: SignedTrail, **arguments: Any) -> Verdict:
    pushed: dict[str, Any] = {}

    class Instance:
        dag_id, task_id, run_id = "audit", "validate", "reference"

        def xcom_push(self, key: str, value: Any) -> None:
            pushed[key] = value

    operator = CloudTrailValidateLogsOperator(
        task_id="validate",
        bucket=trail.bucket,
        delivered_from=WINDOW[0],
        delivered_to=WINDOW[1],
        aws_conn_id=None,
        **arguments,
    )
    try:
        return Verdict(operator.execute({"ti": Instance()}), "", trail.bucket)
    except CloudTrailIntegrityError as error:
        return Verdict(pushed["summary"], str(error), trail.bucket)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteHook:
    return sqlite_warehouse(tmp_path / "audit.sqlite", monkeypatch)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference_client(name, client, aws, warehouse, monkeypatch):
    damaged = CASES[name]
    trail = SignedTrail(bucket=name.lower())
    damaged.build(trail)
    trail.build()
    aws.serve(trail, damaged.keys(trail))
    for variable, value in aws.environment(trail.bucket).items():
        monkeypatch.setenv(variable, value)
    window = {"delivered_from": WINDOW[0] - 2 * HOUR, "delivered_to": WINDOW[1] + HOUR}
    CloudTrailToSqlOperator(task_id="load", bucket=trail.bucket, aws_conn_id=None, **window).execute({})
    damaged.damage(trail)

    theirs = client_says(client, aws, trail)

    for arguments in ({}, {"table": "never_loaded", "download_missing": True}):
        ours = operator_says(trail, **arguments)
        assert theirs <= set(ours.codes), arguments
        beyond = {code for key, code in ours.codes.items() if key not in theirs} | ours.others
        assert beyond == damaged.stricter, arguments


def test_where_the_contract_is_more_lenient_than_the_client(client, aws, warehouse, monkeypatch):
    """Metadata that a copy has lost, and keys in another encoding, are no reason to doubt a digest."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    lost = SignedTrail(bucket="lost-metadata").build()
    lost.lose_metadata(lost.digests[MIDDLE])
    encoded = SignedTrail(bucket="other-encoding").build()
    info = load_der_public_key(signing_key(0).public_key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    aws.serve(lost)
    aws.serve(encoded, [PublicKey(signing_key(0).fingerprint, info)])
    for trail, refused in ((lost, {lost.digests[MIDDLE]}), (encoded, set(encoded.digests[FIRST : LAST + 1]))):
        for variable, value in aws.environment(trail.bucket).items():
            monkeypatch.setenv(variable, value)
        assert client_says(client, aws, trail) == refused
        assert operator_says(trail, download_missing=True).codes == {}
