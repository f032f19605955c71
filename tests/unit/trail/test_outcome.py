from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.outcome import DENIED, outcome_of


@pytest.mark.parametrize(
    ("error_code", "outcome"),
    [
        *(
            (code, "denied")
            for code in (
                *("AccessDenied", "KMS.AccessDeniedException", "Client.UnauthorizedOperation", "NotAuthorized"),
                *("AuthorizationError", "AuthorizationErrorException", "AuthorizationException"),
                *("InsufficientPrivilegesException", "AccessToClusterDenied"),
            )
        ),
        *((code, "error") for code in ("AuthorizationNotFound", "AuthorizationQuotaExceeded", "ThrottlingException")),
        ("200", "success"),
        (None, "success"),
    ],
)
def test_error_codes_of_what_was_denied(error_code: str | None, outcome: str) -> None:
    assert outcome_of(error_code, None, "CreateEnvironment", (None,)) == outcome


def test_a_code_of_any_length_is_gone_through_once() -> None:
    # Were there more, it would be gone through from each of the places where the pattern can begin.
    assert not {"*", "+"} & set(DENIED)
    assert outcome_of("AccessTo" * 20_000, None, "CreateEnvironment", (None,)) == "error"


@pytest.mark.parametrize(
    ("error_code", "status", "outcome"),
    [
        pytest.param("RestApiClientException", 403, "denied", id="denied by Airflow"),
        pytest.param("RestApiClientException", 404, "error", id="refused by Airflow for another reason"),
        pytest.param(None, 401, "denied", id="denied, without an error code"),
        pytest.param(None, 500, "error", id="failed, without an error code"),
        pytest.param(None, 400, "error", id="least status of a failure"),
        pytest.param(None, 399, "success", id="greatest status of a success"),
        pytest.param("200", 204, "success", id="success"),
    ],
)
def test_calls_of_the_rest_api(error_code: str | None, status: int, outcome: str) -> None:
    assert outcome_of(error_code, status, "InvokeRestApi", (None,)) == outcome


@pytest.mark.parametrize(
    ("name", "answers", "outcome"),
    [
        pytest.param("ConsoleLogin", ({"ConsoleLogin": "Failure"}, None), "denied", id="refused"),
        *(
            pytest.param(name, ({name: "Failure"},), "denied", id=name)
            for name in (
                *("SwitchRole", "CheckMfa", "PasswordUpdated", "ExternalIdPDirectoryLogin", "CredentialChallenge"),
                *("CredentialVerification", "UserAuthentication"),
            )
        ),
        pytest.param("UserAuthentication", (None, {"UserAuthentication": "Failure"}), "denied", id="in the details"),
        pytest.param("ConsoleLogin", ({"ConsoleLogin": "Success"},), "success", id="accepted"),
        pytest.param("ConsoleLogin", ("Failure", ["ConsoleLogin"]), "success", id="not written as documented"),
        pytest.param("CreateUser", ({"CreateUser": "Failure"},), "success", id="no event of signing in"),
    ],
)
def test_events_of_signing_in(name: str, answers: tuple[Any, ...], outcome: str) -> None:
    assert outcome_of(None, None, name, answers) == outcome
