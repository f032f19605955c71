"""
LookupEvents over HTTP, as strict as the service; also what a run asks of STS and EC2.

Requests and answers are checked against botocore's model. Sources: AWS CloudTrail API reference, "LookupEvents", and
user guide, "Quotas in AWS CloudTrail". Time is what the clock says, which tests move on.
"""

from __future__ import annotations

import bisect
import json
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from airflow_provider_cloudtrail.trail.event_history import Clock
from tests.support.http_server import Handler, http_server
from tests.support.log_files import ACCOUNT, MWAA, event

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
MANAGEMENT = ("CreateEnvironment", "UpdateEnvironment", "DeleteEnvironment", "TagResource")
PAGE = 50
TARGET = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents"
_SCOPE = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")


class SimulatedClock(Clock):
    """A clock that moves when somebody sleeps."""

    def __init__(self, now: datetime = NOW) -> None:
        self._start = now
        self._lock = threading.Lock()
        self.passed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            self.passed += seconds


class RefusalError(Exception):
    """An error that the service answers."""

    def __init__(self, code: str, message: str = "made up", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Asked:
    """A LookupEvents request, and how it was answered."""

    region: str
    parameters: dict[str, Any]
    at: float
    code: str
    access_key: str
    user_agent: str


@dataclass
class EventHistoryStandIn:
    """
    The service.

    :param clock: its time.
    :param latency: seconds that a request takes.
    :param quota: requests that it answers in any second, in all Regions together; None: as many as come.
    :param appear: how long after an event it appears.
    :param token_lifetime: how long a token is good.
    :param tokens_lost: which tokens, counted from 1, are never good.
    :param refusals: what is answered to which request, counted from 1, instead of events; None: nothing, and the
        connection is closed.
    :param cut_off: the answers to which requests, counted from 1, break off.
    :param closed: what is answered to every request in a Region.
    :param others: moments (seconds on the clock) at which somebody else uses up a request of the quota.
    :param enabled: Regions that EC2 names; None: it refuses.
    """

    clock: Clock = field(default_factory=SimulatedClock)
    latency: float = 0.12
    quota: int | None = 2
    appear: timedelta = timedelta(minutes=10)
    token_lifetime: float = 60.0
    tokens_lost: frozenset[int] = frozenset()
    refusals: dict[int, RefusalError | None] = field(default_factory=dict)
    cut_off: frozenset[int] = frozenset()
    closed: dict[str, RefusalError] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    enabled: tuple[str, ...] | None = ("ap-south-1", "eu-west-1", "us-east-1")
    account: str = ACCOUNT
    asked: list[Asked] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, list[tuple[tuple[float, str], dict[str, Any]]]] = {}
        self._tokens: dict[str, tuple[str, tuple[float, str], float]] = {}
        self._answered: deque[float] = deque()

    def record(self, region: str, records: Iterable[dict[str, Any] | str], *, at: datetime | None = None) -> None:
        """Add events; a text is one whose record cannot be read, for which ``at`` says when it happened."""
        held = self._events.setdefault(region, [])
        for record in records:
            broken = isinstance(record, str)
            moment = at if broken else datetime.fromisoformat(record["eventTime"])  # type: ignore[index]
            assert moment is not None
            event_id = f"broken-{len(held)}" if broken else record["eventID"]  # type: ignore[index]
            described: dict[str, Any] = {
                "EventId": event_id,
                "EventTime": moment.timestamp(),
                "EventSource": MWAA if broken else record["eventSource"],  # type: ignore[index]
                "EventName": "CreateEnvironment" if broken else record["eventName"],  # type: ignore[index]
                "ReadOnly": "false",
                "Username": "ines",
                "Resources": [],
                "CloudTrailEvent": record if broken else json.dumps(record),
            }
            held.append(((-moment.timestamp(), event_id), described))
        held.sort(key=lambda stored: stored[0])

    def environment(self) -> dict[str, str]:
        """Return the variables that send an AWS client here."""
        return {
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def answered(self, region: str | None = None) -> list[Asked]:
        """Return the requests that were answered with events."""
        return [asked for asked in self.asked if asked.code == "" and region in (None, asked.region)]

    # -- what the handler calls --------------------------------------------------------------------

    def lookup_events(
        self, region: str, parameters: dict[str, Any], access_key: str, user_agent: str
    ) -> dict[str, Any] | None:
        with self._lock:
            self.clock.sleep(self.latency)
            now = self.clock.monotonic()
            number = len(self.asked) + 1
            code = ""
            try:
                self._admit(region, now)
                if number in self.refusals:
                    refusal = self.refusals[number]
                    if refusal is None:
                        code = "closed"
                        return None
                    raise refusal
                return self._answer(region, parameters, now)
            except RefusalError as refusal:
                code = refusal.code
                raise
            finally:
                self.asked.append(Asked(region, parameters, now, code, access_key, user_agent))

    def _admit(self, region: str, now: float) -> None:
        if region in self.closed:
            raise self.closed[region]
        while self.others and self.others[0] <= now:
            self._answered.append(self.others.pop(0))
        while self._answered and self._answered[0] <= now - 1:
            self._answered.popleft()
        if self.quota is not None and len(self._answered) >= self.quota:
            raise RefusalError("ThrottlingException", "Rate exceeded")
        self._answered.append(now)

    def _answer(self, region: str, parameters: dict[str, Any], now: float) -> dict[str, Any]:
        _check(parameters, "input", "ValidationException")
        size = parameters.get("MaxResults", PAGE)
        if not 1 <= size <= PAGE:
            raise RefusalError("InvalidMaxResultsException")
        attributes = parameters.get("LookupAttributes", [])
        if len(attributes) > 1:
            raise RefusalError("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
        today = self.clock.now()
        begin = parameters.get("StartTime", (today - timedelta(days=90)).timestamp())
        end = parameters.get("EndTime", today.timestamp())
        if begin > end or begin < (today - timedelta(days=90)).timestamp():
            raise RefusalError("InvalidTimeRangeException", "The time range is not valid.")
        asked = json.dumps([region, {k: v for k, v in parameters.items() if k != "NextToken"}], sort_keys=True)
        after = self._position(asked, parameters.get("NextToken"), now)

        held = self._events.get(region, [])
        start = bisect.bisect_right(held, after, key=lambda stored: stored[0])
        visible = (today - self.appear).timestamp()
        page, last = [], None
        for _, described in held[start:]:
            if described["EventTime"] < begin:
                break
            if described["EventTime"] > min(end, visible) or not _matches(described, attributes):
                continue
            if len(page) == size:
                last = self._token(asked, (-page[-1]["EventTime"], page[-1]["EventId"]), now)
                break
            page.append(described)
        answer: dict[str, Any] = {"Events": page}
        if last is not None:
            answer["NextToken"] = last
        _check(answer, "output", "the stand-in is wrong")
        return answer

    def _token(self, asked: str, position: tuple[float, str], now: float) -> str:
        token = f"token-{len(self._tokens) + 1}"
        self._tokens[token] = (asked, position, now)
        return token

    def _position(self, asked: str, token: str | None, now: float) -> tuple[float, str]:
        if token is None:
            return (float("-inf"), "")
        expected, position, since = self._tokens.get(token, ("", (0.0, ""), 0.0))
        lost = int(token.partition("-")[2] or 0) in self.tokens_lost
        if asked != expected or lost or now - since > self.token_lifetime:
            raise RefusalError("InvalidNextTokenException", "The token is not valid.")
        return position

    def query(self, action: str) -> str:
        """Answer what STS and EC2 are asked."""
        self.calls.append(action)
        if action == "GetCallerIdentity":
            return (
                '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
                f"<Arn>arn:aws:iam::{self.account}:user/ines</Arn><UserId>AIDA</UserId><Account>{self.account}</Account>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
        if action == "AssumeRole":
            return (
                '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
                "<AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
                "<SessionToken>token</SessionToken><Expiration>2036-01-01T00:00:00Z</Expiration></Credentials>"
                "</AssumeRoleResult></AssumeRoleResponse>"
            )
        assert action == "DescribeRegions", action
        if self.enabled is None:
            raise RefusalError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        items = "".join(f"<item><regionName>{region}</regionName></item>" for region in self.enabled)
        return (
            '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
        )


def _matches(described: dict[str, Any], attributes: list[dict[str, str]]) -> bool:
    return all(described.get(attribute["AttributeKey"]) == attribute["AttributeValue"] for attribute in attributes)


@cache
def _shapes() -> dict[str, Any]:
    import botocore.session

    operation = botocore.session.get_session().get_service_model("cloudtrail").operation_model("LookupEvents")
    return {"input": operation.input_shape, "output": operation.output_shape}


def _check(value: dict[str, Any], shape: str, code: str) -> None:
    from botocore.validate import ParamValidator

    found = ParamValidator().validate(value, _shapes()[shape])
    enumerated = _shapes()["input"].members["LookupAttributes"].member.members["AttributeKey"].enum
    unknown = [a for a in value.get("LookupAttributes", ()) if a.get("AttributeKey") not in enumerated]
    if found.has_errors() or unknown:
        raise RefusalError(code, found.generate_report() or f"{unknown}")


def management_events(
    number: int, region: str, *, newest: datetime = NOW - timedelta(hours=2), days: float = 80, prefix: str = ""
) -> list[dict[str, Any]]:
    """Return events that are spread over some days, several in one second now and then."""
    step = timedelta(days=days) / max(number, 1)
    return [
        event(
            f"{prefix}{region}-{index:06}",
            # Every seventh happens in the second of the one before.
            eventTime=f"{newest - (index - (index % 7 == 6)) * step:%Y-%m-%dT%H:%M:%SZ}",
            eventName=MANAGEMENT[index % len(MANAGEMENT)],
            eventCategory="Management",
            managementEvent=True,
            awsRegion=region,
        )
        for index in range(number)
    ]


@contextmanager
def served(stand_in: EventHistoryStandIn) -> Iterator[EventHistoryStandIn]:
    """Serve it over HTTP."""

    class Answering(Handler):
        def answer(self, status: int, body: bytes, kind: str, *, cut_off: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut_off else body)
            self.close_connection |= cut_off

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers.get("X-Amz-Target")
            if target is None:
                self.answer_query(parse_qs(body.decode())["Action"][0])
                return
            scope = _SCOPE.search(self.headers["Authorization"])
            assert (target, self.headers["Content-Type"]) == (TARGET, "application/x-amz-json-1.1")
            assert scope is not None
            assert scope[3] == "cloudtrail"
            try:
                answer = stand_in.lookup_events(scope[2], json.loads(body), scope[1], self.headers["User-Agent"])
                status = 200
            except RefusalError as refusal:
                answer = {"__type": refusal.code, "message": str(refusal)}
                status = refusal.status
            if answer is None:
                self.close_connection = True
                return
            self.answer(
                status,
                json.dumps(answer).encode(),
                "application/x-amz-json-1.1",
                cut_off=len(stand_in.asked) in stand_in.cut_off,
            )

        def answer_query(self, action: str) -> None:
            try:
                self.answer(200, stand_in.query(action).encode(), "text/xml")
            except RefusalError as refusal:
                error = f"<Error><Code>{refusal.code}</Code><Message>{refusal}</Message></Error>"
                self.answer(refusal.status, f"<Response><Errors>{error}</Errors></Response>".encode(), "text/xml")

    with http_server(Answering) as stand_in.endpoint:
        yield stand_in


def client_of(stand_in: EventHistoryStandIn, region: str) -> Any:
    """Return a client of boto3 for a Region of a stand-in that is served; it tries nothing again itself."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "cloudtrail",
        region_name=region,
        endpoint_url=stand_in.endpoint,
        aws_access_key_id="example",
        aws_secret_access_key="example",
        config=Config(retries={"total_max_attempts": 1}),
    )
