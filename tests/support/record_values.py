"""Records with values that are not as documented, or secret, with the columns that they must give."""

from __future__ import annotations

import pytest

from tests.support.log_files import event
from tests.support.record_kinds import at

TOKEN = "gAAAA-a-token-that-was-written-down"

VALUES = [
    pytest.param(event(userIdentity=None), {"actor_kind": "unknown", "actor_arn": None}, id="userIdentity null"),
    pytest.param(
        event(userIdentity={"invokedBy": "x.amazonaws.com"}),
        {"actor_kind": "aws_service", "invoked_by": "x.amazonaws.com"},
        id="userIdentity without type",
    ),
    pytest.param(
        event(sourceIPAddress="192.0.2.1, 10.0.0.5"),
        {"source_ip_address": "192.0.2.1, 10.0.0.5"},
        id="two addresses",
    ),
    pytest.param(event(eventVersion="1.10"), {"event_version": "1.10"}, id="version 1.10"),
    pytest.param(event(eventVersion=1.1), {"event_version": "1.1"}, id="version is a number"),
    pytest.param(event(errorCode="200"), {"outcome": "success", "error_code": "200"}, id="errorCode 200"),
    pytest.param(event(errorCode=""), {"outcome": "success", "error_code": None}, id="errorCode empty"),
    pytest.param(
        event(errorCode="Client.UnauthorizedOperation"), {"outcome": "denied"}, id="denial by another name"
    ),
    pytest.param(event(errorCode="AccessDeniedException"), {"outcome": "denied"}, id="AccessDeniedException"),
    pytest.param(event(errorCode="ThrottlingException"), {"outcome": "error"}, id="throttled"),
    pytest.param(event(requestParameters="text"), {"request_parameters": '"text"'}, id="parameters are text"),
    pytest.param(event(requestParameters=["a", 1]), {"request_parameters": '["a",1]'}, id="parameters are a list"),
    pytest.param(
        event(requestParameters={"Name": "o", "name": "p", "a.b": 1, "*": 2, ":uid": 3, "aRN": 4, "arn": 5}),
        {
            "request_parameters": '{"Name":"o","name":"p","a.b":1,"*":2,":uid":3,"aRN":4,"arn":5}',
            "environment_name": "o",
        },
        id="names that differ only in case",
    ),
    pytest.param(
        event(requestParameters={"n": 9007199254740993, "m": -(2**63), "x": 2**70}),
        {"request_parameters": f'{{"n":9007199254740993,"m":{-(2**63)},"x":{2**70}}}'},
        id="integers above 2^53",
    ),
    pytest.param(
        event(userAgent="a\0b", requestParameters={"Name": "or\0ders"}),
        {"user_agent": "ab", "environment_name": "orders", "request_parameters": '{"Name":"orders"}', "redacted": 0},
        id="NUL",
    ),
    pytest.param(
        event(userAgent="a\ud83db", requestParameters={"x\ud83d": "\udf0a"}),
        {"user_agent": "a\ufffdb", "request_parameters": '{"x\ufffd":"\ufffd"}', "redacted": 0},
        id="lone surrogates",
    ),
    pytest.param(
        event(eventTime="2026-02-03T09:58:00.123456Z"),
        {"event_time": at("2026-02-03T09:58:00.123456+00:00")},
        id="time with a fraction",
    ),
    pytest.param(
        event(eventTime="2026-02-03T09:58:00"), {"event_time": at("2026-02-03T09:58:00+00:00")}, id="time without Z"
    ),
    pytest.param(event(requestID=..., readOnly=...), {"request_id": None, "read_only": None}, id="little said"),
    pytest.param(
        event(responseElements={"CliToken": TOKEN, "WebServerHostname": "h"}, userAgent=f"x {TOKEN}"),
        {
            "redacted": 1,
            "response_elements": '{"CliToken":"***","WebServerHostname":"h"}',
            "user_agent": "x ***",
            "outcome": "success",
        },
        id="CLI token in clear text",
    ),
    pytest.param(
        event(eventName="CreateWebLoginToken", responseElements={"WebToken": TOKEN}),
        {"redacted": 1, "response_elements": '{"WebToken":"***"}'},
        id="web token in clear text",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Method": "POST", "Path": "/variables", "Body": {"value": TOKEN}},
            responseElements={"RestApiStatusCode": 200, "RestApiResponse": {"value": TOKEN}},
        ),
        {
            "redacted": 2,
            "request_parameters": '{"Method":"POST","Path":"/variables","Body":"***"}',
            "response_elements": '{"RestApiStatusCode":200,"RestApiResponse":"***"}',
            "rest_status_code": 200,
        },
        id="REST call in clear text",
    ),
]  # fmt: skip
