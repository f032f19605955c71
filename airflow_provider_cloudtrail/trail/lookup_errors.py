"""
What the service means when it refuses a lookup, and what somebody can do about it.

Sources: AWS CloudTrail API reference, "LookupEvents" and "Common Errors". Throttling is HTTP 400.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from airflow_provider_cloudtrail.trail.s3_errors import is_page, no_answer


class EventHistoryError(Exception):
    """Raised when Event history cannot be read any further; the message says what to do."""


class RegionRefusedError(EventHistoryError):
    """Raised when one Region cannot be read; others may."""


class BrokenOffError(Exception):
    """Raised when an answer is not complete."""


class Fault(Enum):
    """Kinds of refusal, by what has to follow."""

    THROTTLED = auto()
    """The quota is used up: wait."""
    OUTDATED = auto()
    """The token has expired, or the window begins more than 90 days ago by now: put the request together anew."""
    NO_ANSWER = auto()
    """Neither yes nor no: try again."""
    REGION = auto()
    """This Region is closed to the caller."""
    RUN = auto()
    """Nothing can be read."""


_CODES = {
    "ThrottlingException": Fault.THROTTLED,
    "Throttling": Fault.THROTTLED,
    "ThrottledException": Fault.THROTTLED,
    "RequestLimitExceeded": Fault.THROTTLED,
    "TooManyRequestsException": Fault.THROTTLED,
    "InvalidNextTokenException": Fault.OUTDATED,
    "InvalidTimeRangeException": Fault.OUTDATED,
    "InternalFailure": Fault.NO_ANSWER,
    "InternalServerError": Fault.NO_ANSWER,
    "InternalServerException": Fault.NO_ANSWER,
    "ServiceUnavailable": Fault.NO_ANSWER,
    "ServiceUnavailableException": Fault.NO_ANSWER,
    "RequestTimeout": Fault.NO_ANSWER,
    "AccessDeniedException": Fault.REGION,
    "AccessDenied": Fault.REGION,
    "OptInRequired": Fault.REGION,
    "UnrecognizedClientException": Fault.REGION,
    "InvalidClientTokenId": Fault.REGION,
    "ExpiredTokenException": Fault.RUN,
    "ExpiredToken": Fault.RUN,
    "RequestExpired": Fault.RUN,
}
_ADVICE = {
    "AccessDeniedException": "allow cloudtrail:LookupEvents on * to the role of aws_conn_id (a service control policy "
    "may deny this Region: then name the others in regions)",
    "OptInRequired": "this Region is not enabled in the account: name the others in regions",
    "UnrecognizedClientException": "this Region is not enabled in the account (name the others in regions), or the "
    "credentials of aws_conn_id are wrong",
    "ExpiredTokenException": "the credentials of aws_conn_id have expired: renew them, or use a role, whose "
    "credentials renew themselves; run this again, it goes on from here",
}
_SAME_ADVICE = {
    "AccessDenied": "AccessDeniedException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "ExpiredToken": "ExpiredTokenException",
    "RequestExpired": "ExpiredTokenException",
}


def whole(answer: dict[str, Any]) -> dict[str, Any]:
    """
    Return an answer of the client, if it is one of the service.

    botocore does not compare what it has read with the length that was announced, and takes what is no JSON, such as
    an answer that breaks off, for one without members: nothing would have happened in the span, for good.

    :raises BrokenOffError: if it is none.
    """
    length = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-length")
    if "Events" not in answer and length is not None and int(length) > len("{}"):
        raise BrokenOffError("what LookupEvents has answered breaks off, or is no JSON")
    return answer


def fault_of(error: Exception, region: str) -> tuple[Fault | None, str]:
    """
    Return what an error of the client means, and a text for the log that says what to do.

    :param error: what the boto3 client raised, or :func:`whole`.
    :param region: Region that was asked.
    :return: no fault for an error that is not one of the client.
    """
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    if isinstance(error, BrokenOffError):
        return Fault.NO_ANSWER, f"{region}: {error}"
    if isinstance(error, exceptions.ClientError):
        described = error.response.get("Error", {})
        code, message = str(described.get("Code", "")), str(described.get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        fault = _CODES.get(code, Fault.NO_ANSWER if status >= 500 else Fault.RUN)
        # What a role needs to be assumed is another matter.
        advice = _ADVICE.get(_SAME_ADVICE.get(code, code)) if error.operation_name == "LookupEvents" else None
        said = no_answer(error) if is_page(error) else f"{error.operation_name}: {code}: {message}"
        return fault, f"{region}: {said}" + (f"; {advice}" if advice else "")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | exceptions.IncompleteReadError):
        text = (
            f"{region}: the CloudTrail API does not answer ({type(error).__name__}: {error}); in a network without "
            "internet access it needs a VPC endpoint in each Region: name those that have one in regions"
        )
        return Fault.NO_ANSWER, text
    # The latter of what STS has answered, where a role is assumed anew.
    if isinstance(error, ResponseParserError) or (isinstance(error, KeyError) and error.args == ("Credentials",)):
        return Fault.NO_ANSWER, f"{region}: {no_answer(error)}"
    if isinstance(error, exceptions.BotoCoreError):
        return Fault.RUN, f"{region}: LookupEvents could not be called: {type(error).__name__}: {error}"
    return None, ""
