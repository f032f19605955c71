"""Forms that records of real trails have and no schema promises, and records that are beyond reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_cloudtrail.demo.callers import Caller, Json, cast, other_identities
from airflow_provider_cloudtrail.demo.mwaa import environment_arn
from airflow_provider_cloudtrail.demo.plan import Fault
from airflow_provider_cloudtrail.demo.records import (
    FIELDS_SINCE_1_01,
    MWAA,
    Concerns,
    Planted,
    Stage,
    api_call,
    encode,
    iso,
    planted,
)


@dataclass(frozen=True)
class Oddity:
    """
    How a record differs from an ordinary one.

    :param changes: members that it has instead.
    :param columns: what its row must hold all the same.
    :param without: members that it lacks.
    :param time_format: how it writes its time, for :meth:`datetime.strftime`.
    :param precise: microseconds that this time has.
    """

    changes: Json = field(default_factory=dict)
    columns: Json = field(default_factory=dict)
    without: tuple[str, ...] = ()
    time_format: str | None = None
    precise: int = 0


_ODDITIES = (
    # Versions, and what they lack.
    Oddity({"eventVersion": "1.0"}, {"read_only": None, "event_category": None}, FIELDS_SINCE_1_01),
    Oddity({"eventVersion": "1.05"}, {"management_event": None}, ("managementEvent", "eventCategory", "requestID")),
    Oddity({"eventVersion": "1.9"}),
    Oddity({"eventVersion": "1.10"}),
    Oddity({}, {"event_version": None}, ("eventVersion",)),
    Oddity({"eventVersion": "2.0", "somethingNew": {"nested": ["kept", 1]}, "anotherNew": 7}),
    # Addresses.
    Oddity({"sourceIPAddress": "192.0.2.1, 10.0.0.5"}, {"source_ip_address": "192.0.2.1, 10.0.0.5"}),
    Oddity({"sourceIPAddress": "AWS Internal/42"}, {"source_ip_address": "AWS Internal/42"}),
    Oddity({"sourceIPAddress": "console.amazonaws.com"}, {"source_ip_address": "console.amazonaws.com"}),
    Oddity({"sourceIPAddress": "2001:db8::17"}, {"source_ip_address": "2001:db8::17"}),
    # Times.
    Oddity(time_format="%Y-%m-%dT%H:%M:%S.123456789Z", precise=123456),
    Oddity(time_format="%Y-%m-%dT%H:%M:%S.5Z", precise=500_000),
    Oddity(time_format="%Y-%m-%dT%H:%M:%S"),
    Oddity(time_format="%Y-%m-%dT%H:%M:%S+00:00"),
    # Parameters.
    Oddity({"requestParameters": "Name=orders&Method=GET"}, {"request_parameters": "Name=orders&Method=GET"}),
    Oddity({"requestParameters": ["orders", 1, None]}, {"request_parameters": ["orders", 1, None]}),
    Oddity({"requestParameters": None}, {"request_parameters": None}),
    Oddity({
        "requestParameters": {"Name": "orders", "MaxWorkers": 9007199254740993, "Big": 2**63 + 1, "Small": -(2**70)}
    }),
    Oddity({"requestParameters": {"Name": "orders", "Tagging": {"a": 1}, "tagging": "b", "aRN": "1", "arn": "2"}}),
    Oddity({
        "requestParameters": {"Name": "orders", "core.dags": "x", "*": True, "s3:uid": [{}], "": 0, "ratio": 1e-7}
    }),
    Oddity({
        "requestParameters": {"Name": "orders", "deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": []}}}}}}}}}
    }),
    Oddity({
        "requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS",
        "responseElements": "HIDDEN_DUE_TO_SECURITY_REASONS",
    }),
    # Text.
    Oddity({"userAgent": "[odd\x00agent/1.0\x00]"}, {"user_agent": "[oddagent/1.0]"}),
    Oddity({"userAgent": "half a pair \ud83d here"}, {"user_agent": "half a pair \N{REPLACEMENT CHARACTER} here"}),
    Oddity({"userAgent": "the other half \udc00"}, {"user_agent": "the other half \N{REPLACEMENT CHARACTER}"}),
    Oddity(
        {"userAgent": 'zoë \N{GRINNING FACE} \t"quoted" \\ it\'s'},
        {"user_agent": 'zoë \N{GRINNING FACE} \t"quoted" \\ it\'s'},
    ),
    Oddity({"userAgent": "long " * 205}, {"user_agent": "long " * 205}),
    Oddity({"userAgent": ""}, {"user_agent": None}),
    # Outcomes.
    Oddity({"errorCode": "200"}, {"outcome": "success", "error_code": "200"}),
    Oddity({"errorCode": "ThrottlingException", "errorMessage": "Rate exceeded"}, {"outcome": "error"}),
    Oddity(
        {"errorCode": "Client.UnauthorizedOperation", "errorMessage": "You are not authorized"}, {"outcome": "denied"}
    ),
    Oddity({"readOnly": "true", "managementEvent": "false"}, {"read_only": True, "management_event": False}),
    # Members that few records have.
    Oddity(
        {"sharedEventID": "0badc0de-aaaa-4bbb-8ccc-0123456789ab"},
        {"shared_event_id": "0badc0de-aaaa-4bbb-8ccc-0123456789ab"},
    ),
    Oddity({"sessionCredentialFromConsole": "true", "vpcEndpointId": "vpce-0a1b2c3d", "apiVersion": "2020-07-01"}),
    Oddity({
        "addendum": {
            "reason": "UPDATED_DATA",
            "updatedFields": "userAgent",
            "originalEventID": "0badcafe-aaaa-4bbb-8ccc-0123456789ab",
        }
    }),
    Oddity({"responseElements": {"Arn": None, "CreatedAt": "Feb 2, 2026 3:18:55 PM", "empty": {}, "none": []}}),
    Oddity({"resources": [{"accountId": "111122223333", "ARNPrefix": "arn:aws:airflow:"}, None, "text", {"ARN": 7}]}),
    Oddity({"resources": "none"}),
)


def oddities(stage: Stage, moments: Iterable[datetime], environment: str) -> Iterator[Planted]:
    """
    Yield one MWAA event for each oddity.

    :param moments: when; there must be enough, :func:`count`.
    """
    opened = iso(next(moments := iter(moments)))
    caller = cast(stage.account, opened)["dana"]
    identities = [
        Oddity({"userIdentity": identity}, columns)
        for identity, columns in other_identities(stage.account, opened).values()
    ]
    for number, (oddity, moment) in enumerate(zip((*_ODDITIES, *identities), moments, strict=False)):
        request = {"Name": environment, "Path": f"/dags/odd_{number}", "Method": "GET"}
        record = api_call(stage, moment, caller, MWAA, "InvokeRestApi", request=request, data_event=True)
        record |= oddity.changes
        if oddity.time_format is not None:
            record["eventTime"] = moment.strftime(oddity.time_format)
        for name in oddity.without:
            del record[name]
        known = {} if "userIdentity" in oddity.changes else caller.columns
        yield planted(record, moment + timedelta(microseconds=oddity.precise), None, **(dict(known) | oddity.columns))
    yield _hidden_source(stage, next(moments), caller, environment)


def count() -> int:
    """Return how many moments :func:`oddities` needs."""
    return len(_ODDITIES) + len(other_identities("", "")) + 2


def _hidden_source(stage: Stage, moment: datetime, caller: Caller, environment: str) -> Planted:
    """Return a record whose event source no search of the bytes finds: JSON allows letters as escapes."""
    # Of another one: that of the story goes on.
    name = f"{environment}-old"
    record = api_call(stage, moment, caller, MWAA, "DeleteEnvironment", request={"Name": name})
    found = planted(record, moment, caller, environment_name=name)
    escaped = found.body.replace(f'"{MWAA}"'.encode(), b'"\\u0061irflow\\u002eamazonaws.com"')
    return Planted(escaped, moment, Concerns.MWAA, found.event_id, columns=found.columns)


def unreadable(stage: Stage, moment: datetime, caller: Caller, environment: str, fault: Fault) -> Planted:
    """
    Return a record that must go into quarantine.

    :param fault: what is wrong with it.
    """
    request: Any = {"ResourceArn": environment_arn(stage, environment), "Tags": {"note": "damaged"}}
    record = api_call(stage, moment, caller, MWAA, "TagResource", request=request)
    body = encode(record)
    match fault:
        case Fault.RECORD_NO_OBJECT:
            body = json.dumps(f"{iso(moment)} {MWAA} a line that is no record").encode()
        case Fault.RECORD_WITHOUT_TIME:
            del record["eventTime"]
            body = encode(record)
        case Fault.RECORD_WITH_BAD_TIME:
            body = encode(record | {"eventTime": "Feb 2, 2026 3:18:55 PM"})
        case Fault.RECORD_NOT_UTF8:
            body = body.replace(b"damaged", b"damag\xff\xfe")
        case Fault.RECORD_OUT_OF_RANGE:
            body = body.replace(b'"damaged"', b"1e999")
        case _:
            raise ValueError(f"{fault} is no fault of a record")
    return Planted(body, moment, Concerns.MWAA, fault=fault.code)
