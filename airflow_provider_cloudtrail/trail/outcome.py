"""
What became of a call: success, denied or error.

A record says it in its error code, in what signing in answers, or in the HTTP status of a call of Airflow's REST API.
Source: AWS CloudTrail user guide, "CloudTrail record contents" and "AWS Management Console sign-in events".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

DENIED = (
    "(?i)access.?denied|unauthorized|not.?authorized|forbidden|auth.?failure"
    # SNS and others, Elastic Beanstalk, Redshift; an authorization that was not found is something else.
    "|authorization.?error|authorization.?exception|insufficient.?privilege|access.?to[a-z]{1,60}denied"
)
"""
Pattern that occurs in the error code of a call that was denied.

Nothing in it repeats without a limit: whoever forges a log file can write a code of any length.
"""

SIGN_INS = frozenset((
    *("ConsoleLogin", "SwitchRole", "CheckMfa", "PasswordUpdated", "ExternalIdPDirectoryLogin"),
    *("CredentialChallenge", "CredentialVerification", "UserAuthentication"),
))
"""Events of signing in, also to IAM Identity Center. A member with their name says what became of it."""

_DENIED = re.compile(DENIED)


def outcome_of(error_code: str | None, rest_status: int | None, name: str | None, answers: Iterable[Any]) -> str:
    """
    Return what became of a call.

    :param error_code: ``errorCode`` of the record; "200" is none.
    :param rest_status: HTTP status that Airflow's REST API answered with.
    :param name: ``eventName``.
    :param answers: members of the record that can hold what signing in answered.
    """
    # MWAA gives whatever Airflow refuses one error code, RestApiClientException: its status tells a denial.
    if rest_status in (401, 403):
        return "denied"
    if error_code is not None and error_code != "200":
        return "denied" if _DENIED.search(error_code) else "error"
    if rest_status is not None and rest_status >= 400:
        return "error"
    # A failed sign-in has no error code.
    failed = name in SIGN_INS and any(isinstance(answer, dict) and answer.get(name) == "Failure" for answer in answers)
    return "denied" if failed else "success"
