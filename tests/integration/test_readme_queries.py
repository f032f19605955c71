"""The SQL of the README runs as it stands there, and finds what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import NO_MATCH
from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.engines import ONE_OF_EACH, REPOSITORY
from tests.support.log_files import ACCOUNT, OTHER_ACCOUNT, event, foreign
from tests.support.rows import MWAA, file_rows
from tests.support.signed_trail import BUCKET, FIRST, HOUR, NOW, WINDOW, MemoryStore, SignedTrail
from tests.support.tables import execute, query

README = REPOSITORY / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")

MIDDLE = 6


def queries() -> dict[str, str]:
    """Return the queries of the README by the comment above them."""
    blocks = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    statements = [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]
    return {statement.partition("\n")[0].removeprefix("-- "): statement for statement in statements}


@pytest.fixture(params=ONE_OF_EACH)
def warehouse(request: pytest.FixtureRequest, new_warehouse: Callable[[str], Warehouse]) -> Warehouse:
    """Return the tables of a damaged trail that was loaded and validated."""
    warehouse = new_warehouse(request.param)
    trail = SignedTrail().build()
    broken = trail.logs(MIDDLE + 2)[0]
    trail.append(broken, b"\0padding")
    store, window = MemoryStore(trail), DeliveryWindow(*WINDOW)
    warehouse.prepare()
    location = TrailLocation(BUCKET)
    files = list_log_files(store, location, window)
    export_log_files(files, store_of=lambda _: store, warehouse=warehouse, selection=MWAA)
    forged = trail.log_key(trail.hours[MIDDLE].start + HOUR / 3, "A" * 16)
    store.contents[forged] = store.contents[trail.logs(MIDDLE)[0]]
    del store.contents[trail.logs(FIRST + 1)[0]], store.contents[trail.digests[MIDDLE + 3]]
    evidence = Evidence(warehouse)
    evidence.prepare()
    Lookups(warehouse).prepare()
    ring = KeyRing(lambda *_: trail.public_keys(), *WINDOW)
    validate_trail(Validation(location, window, lambda _: store, evidence, ring, now=NOW))
    return warehouse


def answers(warehouse: Warehouse, beginning: str) -> list[tuple[Any, ...]]:
    (statement,) = (text for comment, text in queries().items() if comment.startswith(beginning))
    return query(warehouse, adapted(statement, warehouse))


def adapted(statement: str, warehouse: Warehouse) -> str:
    """Return a query for the table of this test."""
    if warehouse.engine == "duckdb":
        # Its Python client needs pytz for a time with a zone.
        statement = f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({statement})"
    elif warehouse.engine == "sqlite":
        # As the README says of it.
        statement = re.sub(r"CAST\((\w+) AS DATE\)", r"date(\1)", statement)
        statement = re.sub(r"(\w+_at) - (event_time)", r"julianday(\1) - julianday(\2)", statement)
    return statement.replace("mwaa_audit_events", warehouse.table)


def test_there_are_thirteen() -> None:
    assert len(queries()) == 13


def test_all_of_them_run(warehouse: Warehouse) -> None:
    for statement in queries().values():
        query(warehouse, adapted(statement, warehouse))


def test_the_evidence_is_what_was_damaged(warehouse: Warehouse) -> None:
    verdicts = {verdict: int(files) for _, verdict, files in answers(warehouse, "Log files verified per day")}
    assert (verdicts["deleted"], verdicts["unlisted"], verdicts["altered"]) == (1, 2, 1)
    gaps = answers(warehouse, "Gaps")
    assert sorted(row[0] for row in gaps) == ["gap", "missing"]
    ((day, to_delivery, to_row),) = answers(warehouse, "How long")
    assert str(day) == f"{WINDOW[0]:%Y-%m-%d}"
    if warehouse.engine == "sqlite":
        # The events of this trail are stamped so long after their file.
        assert round(to_delivery * 86_400) == -12
        assert to_row > 0
    # One more than in the ledger: what was forged was never loaded.
    files = answers(warehouse, "Log files that nothing vouches for")
    assert sorted(row[0] for row in files) == ["altered", "deleted", *["unlisted"] * 3]
    ((_, _, reason, _, verdict),) = answers(warehouse, "What was quarantined")
    assert reason.startswith("bytes_behind_gzip")
    assert verdict == "altered"


def test_rows_that_were_deleted_or_added_are_found(warehouse: Warehouse) -> None:
    question = "Were rows deleted"
    assert answers(warehouse, question) == []
    table = warehouse.table
    ((first, second),) = query(warehouse, f"SELECT MIN(log_file_uri), MAX(log_file_uri) FROM {table}")
    execute(warehouse, f"UPDATE {table} SET log_file_uri = 'elsewhere' WHERE log_file_uri = '{first}'")
    execute(warehouse, f"DELETE FROM {table} WHERE log_file_uri = '{second}'")
    found = [tuple(None if value is None else str(value) for value in row) for row in answers(warehouse, question)]
    assert found == sorted([("elsewhere", None, "1"), (first, "1", None), (second, "1", None)])


def test_a_day_with_an_unreadable_file_does_not_look_complete(warehouse: Warehouse) -> None:
    columns = list(zip(*answers(warehouse, "Is the period complete"), strict=True))
    files, unreadable, records, loaded, *others = (sum(map(int, column)) for column in columns[3:])
    assert (unreadable, others) == (1, [0, 0, 0, 0])
    assert records == loaded == files - unreadable


@pytest.mark.parametrize("engine", ONE_OF_EACH)
def test_a_day_without_a_parsed_file_has_numbers(new_warehouse: Callable[[str], Warehouse], engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    no_match = file_rows("20260203T1000Z", foreign(), selection=MWAA)
    assert no_match.entry.status == NO_MATCH
    warehouse.write([no_match, file_rows("20260203T1005Z", body=b"no gzip")])
    ((_, _, day, *numbers),) = answers(warehouse, "Is the period complete")
    assert str(day) == "2026-02-03"
    assert [int(number) for number in numbers] == [2, 1, 0, 0, 0, 0, 0, 0]


STS = f"arn:aws:sts::{ACCOUNT}"
BROKER = {"sessionContext": {"sessionIssuer": {"type": "IAMUser", "userName": "broker"}}}
CALLERS: dict[str, dict[str, Any]] = {
    f"arn:aws:iam::{ACCOUNT}:root": {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root", "principalId": ACCOUNT},
    "ines": {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/ines", "userName": "ines"},
    "dora": {"type": "AssumedRole", "arn": f"{STS}:assumed-role/Platform/dora"},
    "pat": {"type": "FederatedUser", "arn": f"{STS}:federated-user/pat", **BROKER},
    "lee": {"type": "FederatedUser", "arn": f"{STS}:federated-user/lee", **BROKER},
    "AIDAOTHER": {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": OTHER_ACCOUNT},
    "94d00cd8": {"type": "IdentityCenterUser", "accountId": ACCOUNT, "onBehalfOf": {"userId": "94d00cd8"}},
}
FORBIDDEN: dict[str, Any] = {
    "errorCode": "RestApiClientException",
    "responseElements": {"RestApiStatusCode": 403, "RestApiResponse": "***"},
}


@pytest.mark.parametrize("engine", ONE_OF_EACH)
def test_every_caller_is_named(new_warehouse: Callable[[str], Warehouse], engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    call = {"Name": "orders", "Path": "/dags/daily", "Method": "PATCH"}
    rest = {"eventName": "InvokeRestApi", "requestParameters": call, **FORBIDDEN}
    records = []
    for number, identity in enumerate(CALLERS.values()):
        records += [
            event(f"token-{number}", userIdentity=identity),
            event(f"delete-{number}", userIdentity=identity, eventName="DeleteEnvironment"),
            event(f"rest-{number}", userIdentity=identity, **rest),
        ]
    # What was refused before it was read has no parameters.
    records.append(event("rest-unread", eventName="InvokeRestApi", requestParameters=None, errorCode="AccessDenied"))
    records.append(event("beanstalk", eventSource="elasticbeanstalk.amazonaws.com", eventName="CreateEnvironment"))
    warehouse.write([file_rows("20260203T1000Z", *records)])

    minted = answers(warehouse, "Who minted")
    assert sorted((row[0], int(row[4])) for row in minted) == sorted((person, 1) for person in CALLERS)
    everybody = [identity.get("arn") or identity.get("principalId") or person for person, identity in CALLERS.items()]
    refused = [*everybody, CALLERS["ines"]["arn"]]
    for question, expected in (("Who created", everybody), ("What was denied", refused), ("Who changed", refused)):
        assert sorted(row[-1] for row in answers(warehouse, question)) == sorted(expected), question


@pytest.mark.parametrize("engine", ONE_OF_EACH)
def test_environments_of_one_name_in_two_accounts_are_told_apart(
    new_warehouse: Callable[[str], Warehouse], engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    accounts = [ACCOUNT, OTHER_ACCOUNT]
    records = []
    for account in accounts:
        shared: dict[str, Any] = {
            "recipientAccountId": account,
            "userIdentity": CALLERS["dora"],
            "requestParameters": {"Name": "orders", "Method": "PATCH", "Path": "/dags/daily"},
        }
        records += [
            event(f"token-{account}", **shared),
            event(f"update-{account}", eventName="UpdateEnvironment", **shared),
            event(f"rest-{account}", eventName="InvokeRestApi", **shared, **FORBIDDEN),
        ]
    warehouse.write([file_rows("20260203T1000Z", *records)])

    minted = answers(warehouse, "Who minted")
    assert sorted(row[3] for row in minted) == [
        f"arn:aws:airflow:eu-west-1:{account}:environment/orders" for account in accounts
    ]
    for question in ("Who created", "What was denied", "Who changed"):
        assert sorted(row[1:3] for row in answers(warehouse, question)) == [
            (account, "eu-west-1") for account in accounts
        ]
