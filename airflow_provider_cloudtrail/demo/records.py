"""What all records of a synthetic trail have in common, and what is known about those that matter."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_provider_cloudtrail.demo.callers import Caller, Json

MWAA = "airflow.amazonaws.com"
MWAA_SERVERLESS = "airflow-serverless.amazonaws.com"
FIELDS_SINCE_1_01 = (
    "eventID",
    "requestID",
    "readOnly",
    "eventType",
    "recipientAccountId",
    "managementEvent",
    "eventCategory",
)
"""Members that records of eventVersion 1.0 lack."""


class Concerns(Enum):
    """Which selection of an export wants a record."""

    MWAA = "event of MWAA or MWAA Serverless"
    ACTIVITY = "what an environment did in AWS, wanted on request"


@dataclass(frozen=True)
class Stage:
    """
    Where something happens.

    :param account: account id.
    :param region: Region.
    :param rng: source of its ids.
    """

    account: str
    region: str
    rng: random.Random

    def guid(self) -> str:
        """Return a new id, in the form of an eventID."""
        digits = f"{self.rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def letters(self, count: int) -> str:
        """Return that many random letters and digits."""
        return "".join(self.rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=count))


@dataclass(frozen=True)
class Planted:
    """
    A record that an export must treat in a known way.

    :param body: its JSON, as it stands in the log file.
    :param event_time: when it happened, UTC.
    :param concerns: which selection wants it.
    :param event_id: its eventID; None: it has none.
    :param fault: reason code with which it must go into quarantine; None: it is good.
    :param columns: what the columns of its row must hold; JSON columns decoded.
    :param secrets: texts in it that must reach no warehouse.
    :param redacted: number of secret values in it.
    """

    body: bytes
    event_time: datetime
    concerns: Concerns
    event_id: str | None = None
    fault: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    redacted: int = 0


def iso(moment: datetime) -> str:
    """Return a time as CloudTrail writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(record: Any) -> bytes:
    """Return a record as it stands in a log file; halves of surrogate pairs survive as escapes."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode()


def api_call(
    stage: Stage,
    moment: datetime,
    caller: Caller,
    source: str,
    name: str,
    *,
    request: Any = None,
    response: Any = None,
    read_only: bool = False,
    data_event: bool = False,
    resources: list[Json] | None = None,
    **more: Any,
) -> Json:
    """
    Return the record of an API call.

    :param source: service that was called.
    :param name: action.
    :param request: its parameters.
    :param response: its answer.
    :param data_event: whether it is a data event, not a management event.
    :param more: further members, such as ``errorCode``.
    """
    record: Json = {
        "eventVersion": "1.11",
        "userIdentity": caller.identity,
        "eventTime": iso(moment),
        "eventSource": source,
        "eventName": name,
        "awsRegion": stage.region,
        "sourceIPAddress": caller.source_ip,
        "userAgent": caller.user_agent,
        **more,
        "requestParameters": request,
        "responseElements": response,
        "requestID": stage.guid(),
        "eventID": stage.guid(),
        "readOnly": read_only,
        "eventType": "AwsApiCall",
        "managementEvent": not data_event,
        "recipientAccountId": stage.account,
        "eventCategory": "Data" if data_event else "Management",
    }
    if resources is not None:
        record["resources"] = resources
    if not caller.source_ip.endswith(".amazonaws.com"):
        record["tlsDetails"] = {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": f"{source.partition('.')[0]}.{stage.region}.amazonaws.com",
        }
    return record


def planted(
    record: Json,
    moment: datetime,
    caller: Caller | None,
    concerns: Concerns = Concerns.MWAA,
    secrets: tuple[str, ...] = (),
    redacted: int = 0,
    **columns: Any,
) -> Planted:
    """
    Return a good record with what its row must hold.

    :param caller: who made the call; None: the columns say it.
    :param columns: columns of the audit table, beside those that follow from the record's plain members.
    """
    expected = {
        "event_time": moment,
        "event_source": record["eventSource"],
        "event_name": record["eventName"],
        "aws_region": record["awsRegion"],
        "redacted": redacted,
        "outcome": "success",
        **(caller.columns if caller is not None else {}),
        **columns,
    }
    return Planted(encode(record), moment, concerns, record.get("eventID"), None, expected, secrets, redacted)
