"""
Amazon MWAA over HTTP for tests, with moto's versioned S3 behind the same address and IAM's policy simulation.

Requests and answers are held against botocore's model of the service (members, types, patterns, lengths, values), the
environment goes through the states that MWAA documents, an update is refused while one is running, and a version that
is to be pinned must exist.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from tests.support.http_server import serving

ACCOUNT = "123456789012"  # moto's
REGION = "eu-west-1"
READY = ("AVAILABLE", "UPDATE_FAILED")
_NUMBERS = itertools.count(1)
_ENDS = {
    "success": [("AVAILABLE", "SUCCESS")],
    "failure": [("UPDATE_FAILED", "FAILED")],
    "roll back": [("ROLLING_BACK", "PENDING"), ("AVAILABLE", "FAILED")],
}


@cache
def mwaa_model() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("mwaa")


def check(shape: Any, value: Any, path: str = "") -> None:
    """Hold a value against a shape of the service model, also where botocore itself does not look."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    _check_limits(shape, value, path)


def _check_limits(shape: Any, value: Any, path: str) -> None:
    if shape.type_name == "structure" and not shape.metadata.get("document"):
        assert set(value) <= set(shape.members), f"{path}: {set(value) - set(shape.members)} is not in the model"
        for name, inner in value.items():
            _check_limits(shape.members[name], inner, f"{path}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            _check_limits(shape.member, inner, path)
    elif shape.type_name == "map":
        for name, inner in value.items():
            _check_limits(shape.key, name, path)
            _check_limits(shape.value, inner, f"{path}.{name}")
    elif shape.type_name == "string":
        metadata = shape.metadata
        assert metadata.get("min", 0) <= len(value) <= metadata.get("max", 10**9), f"{path}: length of {value!r}"
        assert not shape.enum or value in shape.enum, f"{path}: {value!r}"
        assert "pattern" not in metadata or re.fullmatch(metadata["pattern"], value), f"{path}: {value!r}"


class ApiError(Exception):
    """An error that the service answers with."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.members = code, status, {"message": message, **members}


@dataclass
class Airflow:
    """The REST API of an environment's Airflow."""

    dags: dict[str, bool] = field(default_factory=dict)
    import_errors: list[dict[str, Any]] = field(default_factory=list)
    providers: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, query: dict[str, Any]) -> dict[str, Any] | None:
        collections = {
            "/importErrors": ("import_errors", self.import_errors),
            "/providers": (
                "providers",
                [{"package_name": name, "version": version} for name, version in self.providers.items()],
            ),
        }
        if path.startswith("/dags/"):
            name = path.removeprefix("/dags/")
            return {"dag_id": name, "is_paused": self.dags[name]} if name in self.dags else None
        member, entries = collections[path]
        offset = query.get("offset", 0)
        return {member: entries[offset : offset + min(query["limit"], 100)], "total_entries": len(entries)}


@dataclass
class MwaaEnvironment:
    """
    An environment.

    :param outcome: how its next update ends: ``success``, ``failure`` or ``roll back``.
    :param polls: how often an update that is running is looked at before the next state.
    """

    members: dict[str, Any]
    airflow: Airflow = field(default_factory=Airflow)
    outcome: str = "success"
    polls: int = 2
    updates: list[dict[str, Any]] = field(default_factory=list)
    _next: list[tuple[str, str]] = field(default_factory=list)
    _wanted: dict[str, Any] = field(default_factory=dict)
    _left: int = 0

    def look(self) -> dict[str, Any]:
        answer = {name: value for name, value in self.members.items() if value is not None}
        if self._next:
            if self._left:
                self._left -= 1
            else:
                status, update = self._next.pop(0)
                self.members["Status"] = status
                self.members["LastUpdate"] = {**self.members["LastUpdate"], "Status": update}
                if update == "SUCCESS":
                    self.members.update(self._wanted)
                elif update == "FAILED":
                    error = {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "made up"}
                    self.members["LastUpdate"]["Error"] = error
                self._left = self.polls
        return answer

    def update(self, request: dict[str, Any]) -> None:
        if self.members["Status"] not in READY:
            raise ApiError(
                "ValidationException", f"Environment {self.members['Name']} is in {self.members['Status']} status"
            )
        self.updates.append(request)
        self._wanted = {
            name: value for name, value in request.items() if name not in ("Name", "WorkerReplacementStrategy")
        }
        before = self.members.get("LastUpdate", {}).get("CreatedAt", datetime(2026, 1, 1, tzinfo=timezone.utc))
        self.members["LastUpdate"] = {
            "Status": "PENDING",
            "CreatedAt": before + timedelta(hours=1),
            "WorkerReplacementStrategy": request.get("WorkerReplacementStrategy", "FORCED"),
        }
        self.members["Status"] = "UPDATING"
        self._next, self._left = list(_ENDS[self.outcome]), self.polls


@dataclass
class MwaaStandIn:
    """
    A running server.

    :param calls: service, method and path of what was asked, and whether S3 was told the owner of the bucket.
    :param buckets_of_others: names of buckets that belong to another account.
    :param allowed: IAM actions that the execution role has; None: simulating is denied.
    :param kill: process to end by ``kill -9`` at a request: its id, the number of the request, before or after it.
    """

    endpoint: str = ""
    environments: dict[str, MwaaEnvironment] = field(default_factory=dict)
    calls: list[tuple[str, str, str, bool]] = field(default_factory=list)
    buckets_of_others: set[str] = field(default_factory=set)
    allowed: set[str] | None = field(default_factory=set)
    denied_calls: set[str] = field(default_factory=set)
    kill: tuple[Callable[[], int], int, str] | None = None

    def variables(self) -> dict[str, str]:
        """Return what sends an AWS client here."""
        return {
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            # MWAA's endpoints have a prefix, which an address cannot have.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def create(self, *, versioning: bool = True, **members: Any) -> MwaaEnvironment:
        """Create an environment with a bucket of its own."""
        number = next(_NUMBERS)
        name, bucket = f"orders-{number}", f"example-dags-{number}"
        backend().create_bucket(bucket, REGION)
        if versioning:
            backend().put_bucket_versioning(bucket, "Enabled")
        created = MwaaEnvironment({
            "Name": name,
            "Status": "AVAILABLE",
            "Arn": f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/{name}",
            "AirflowVersion": "3.0.6",
            "EnvironmentClass": "mw1.small",
            "SourceBucketArn": f"arn:aws:s3:::{bucket}",
            "DagS3Path": "dags/",
            "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/orders-execution",
            "WebserverAccessMode": "PRIVATE_ONLY",
            "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
            "AirflowConfigurationOptions": {"core.dags_are_paused_at_creation": "True"},
            **members,
        })
        self.environments[name] = created
        return created

    # -- answers -----------------------------------------------------------------------------------

    def mwaa(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kind, _, name = path.strip("/").partition("/")
        operations = {
            ("GET", "environments"): ("GetEnvironment", self._get),
            ("PATCH", "environments"): ("UpdateEnvironment", self._update),
            ("POST", "restapi"): ("InvokeRestApi", self._invoke),
        }
        operation, handle = operations[method, kind]
        model = mwaa_model().operation_model(operation)
        request = {"Name": unquote(name), **json.loads(body or b"{}")}
        try:
            check(model.input_shape, request, operation)
            if operation in self.denied_calls:
                raise ApiError("AccessDeniedException", f"not authorized to perform: airflow:{operation}", 403)
            if request["Name"] not in self.environments:
                raise ApiError("ResourceNotFoundException", "there is none", 404)
            answer = handle(request)
            check(model.output_shape, answer, operation)
        except ApiError as error:
            if error.code not in {shape.name for shape in model.error_shapes} | {"AccessDeniedException"}:
                raise RuntimeError(f"{operation} does not raise {error.code}") from None
            return error.status, {"x-amzn-ErrorType": error.code}, _json(error.members)
        return 200, {}, _json(answer)

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Environment": self.environments[request["Name"]].look()}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.environments[request["Name"]]
        bucket = found.members["SourceBucketArn"].rpartition(":")[2]
        for kind in ("Requirements", "Plugins"):
            key, version = request.get(f"{kind}S3Path"), request.get(f"{kind}S3ObjectVersion")
            if key and backend().get_object(bucket, key, version_id=version) is None:
                raise ApiError("ValidationException", f"Unable to read version {version} of {key}")
        found.update(request)
        return {"Arn": found.members["Arn"]}

    def _invoke(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.environments[request["Name"]].airflow.answer(request["Path"], request.get("QueryParameters") or {})
        if found is None:
            raise ApiError(
                "RestApiClientException", "", 400, RestApiStatusCode=404, RestApiResponse={"title": "not found"}
            )
        return {"RestApiStatusCode": 200, "RestApiResponse": found}

    def iam(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        form = parse_qs(body.decode())
        assert form["Action"] == ["SimulatePrincipalPolicy"], form
        if self.allowed is None:
            text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>made up</Message></Error></ErrorResponse>"
            return 403, {"Content-Type": "text/xml"}, text.encode()
        assert len(form["ResourceArns.member.1"]) == 1
        actions = [values[0] for name, values in sorted(form.items()) if name.startswith("ActionNames.member.")]
        results = "".join(
            f"<member><EvalActionName>{escape(action)}</EvalActionName>"
            f"<EvalDecision>{'allowed' if action in self.allowed else 'implicitDeny'}</EvalDecision></member>"
            for action in actions
        )
        text = (
            '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
            f"<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}"
            "</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )
        return 200, {"Content-Type": "text/xml"}, text.encode()

    def refuses(self, environ: dict[str, Any]) -> bool:
        """Tell whether S3 denies a request because the bucket belongs to somebody else."""
        bucket = environ["PATH_INFO"].lstrip("/").partition("/")[0]
        owner = environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER")
        return bucket in self.buckets_of_others or owner not in (None, ACCOUNT)


def backend() -> Any:
    """Return moto's S3 in this process."""
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]


def contents(bucket: str) -> dict[str, bytes]:
    """Return what is in a bucket by key, the newest version of each."""
    return {key: found.value for key, found in backend().get_bucket(bucket).keys.items() if hasattr(found, "value")}


def versions(bucket: str, key: str) -> list[tuple[str, bytes]]:
    """Return version and content of all versions of an object, the oldest first."""
    found = backend().get_bucket(bucket).keys.getlist(key, [])
    return [(entry.version_id, entry.value) for entry in found if hasattr(entry, "value")]


def put(bucket: str, key: str, content: bytes) -> str:
    """Write an object, as somebody else; return its version."""
    return str(backend().put_object(bucket, key, content).version_id)


def _json(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, default=lambda value: value.timestamp()).encode()


@contextmanager
def mwaa_stand_in() -> Iterator[MwaaStandIn]:
    """Run a server while the block runs."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    served = MwaaStandIn()
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        service = environ.get("HTTP_AUTHORIZATION", "/////").split("/")[3]
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        served.calls.append((service, method, path, "HTTP_X_AMZ_EXPECTED_BUCKET_OWNER" in environ))
        _kill(served, "before")
        if service == "s3" and not served.refuses(environ):
            answered = list(moto(environ, start_response))
            _kill(served, "after")
            return answered
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if service == "s3":
            text = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            status, headers, answer = 403, {"Content-Type": "application/xml"}, text.encode()
        elif service == "iam":
            status, headers, answer = served.iam(body)
        else:
            status, headers, answer = served.mwaa(method, path, body)
        _kill(served, "after")
        start_response(f"{status} made up", [("Content-Length", str(len(answer))), *headers.items()])
        return [answer]

    with serving(make_server("127.0.0.1", 0, application, threaded=True)) as served.endpoint:
        yield served


def _kill(served: MwaaStandIn, moment: str) -> None:
    if served.kill is None:
        return
    process, at, when = served.kill
    if len(served.calls) == at and when == moment:
        os.kill(process(), signal.SIGKILL)
