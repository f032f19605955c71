from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.trail.actor import Actor, actor_of
from tests.support.documented_records import FULL, both

A = "111122223333"
PROVIDER = f"arn:aws:iam::{A}:oidc-provider/oidc.example.org/id/0A1B"
NOBODY = Actor("unknown", *[None] * 10)


def issuer(name: str = "Platform", kind: str = "Role", account: str = A) -> dict[str, Any]:
    return {
        "type": kind,
        "principalId": "AROAEXAMPLE1",
        "arn": f"arn:aws:iam::{account}:{kind.lower()}/{name}",
        "accountId": account,
        "userName": name,
    }


IDENTITIES = [
    pytest.param(
        {"type": "Root", "principalId": A, "arn": f"arn:aws:iam::{A}:root", "accountId": A, "accessKeyId": ""},
        {
            "actor_kind": "root",
            "actor_arn": f"arn:aws:iam::{A}:root",
            "actor_account_id": A,
            "actor_principal_id": A,
        },
        id="Root",
    ),
    pytest.param({"type": "AssumedRoot"}, {"actor_kind": "root"}, id="AssumedRoot"),
    pytest.param(
        {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLE1",
            "arn": f"arn:aws:iam::{A}:user/teams/ines",
            "accountId": A,
            "accessKeyId": "AKIAEXAMPLE1",
            "userName": "ines",
            "sessionContext": {"attributes": {"mfaAuthenticated": "true", "creationDate": "2026-02-03T09:00:00Z"}},
        },
        {
            "actor_kind": "iam_user",
            "actor_arn": f"arn:aws:iam::{A}:user/teams/ines",
            "actor_account_id": A,
            "actor_principal_id": "AIDAEXAMPLE1",
            "actor_user_name": "ines",
            "access_key_id": "AKIAEXAMPLE1",
            "mfa_authenticated": True,
        },
        id="IAMUser with MFA",
    ),
    pytest.param(
        {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE1:ines",
            "arn": f"arn:aws:sts::{A}:assumed-role/Platform/ines",
            "accountId": A,
            "accessKeyId": "ASIAEXAMPLE1",
            "sessionContext": {
                "sessionIssuer": issuer(),
                "webIdFederationData": {},
                "attributes": {"mfaAuthenticated": "false", "creationDate": "20260203T090000Z"},
            },
        },
        {
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws:sts::{A}:assumed-role/Platform/ines",
            "actor_account_id": A,
            "actor_principal_id": "AROAEXAMPLE1:ines",
            "actor_user_name": "Platform",
            "actor_session_name": "ines",
            "session_issuer_arn": f"arn:aws:iam::{A}:role/Platform",
            "access_key_id": "ASIAEXAMPLE1",
            "mfa_authenticated": False,
        },
        id="AssumedRole",
    ),
    pytest.param(
        {"type": "AssumedRole", "arn": f"arn:aws-us-gov:sts::{A}:assumed-role/Analyst/lee@example.org"},
        {
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws-us-gov:sts::{A}:assumed-role/Analyst/lee@example.org",
            "actor_user_name": "Analyst",
            "actor_session_name": "lee@example.org",
        },
        id="AssumedRole without session",
    ),
    pytest.param(
        {"type": "AssumedRole", "principalId": "AROAEXAMPLE1:i-0abc", "accountId": A},
        {
            "actor_kind": "temporary_credentials",
            "actor_principal_id": "AROAEXAMPLE1:i-0abc",
            "actor_account_id": A,
            "actor_session_name": "i-0abc",
        },
        id="AssumedRole without ARN",
    ),
    pytest.param(
        {"type": "AssumedRole", "arn": f"arn:aws:iam::{A}:assumed-role/Lonely"},
        {"actor_kind": "temporary_credentials", "actor_arn": f"arn:aws:iam::{A}:assumed-role/Lonely"},
        id="AssumedRole whose ARN names no session",
    ),
    pytest.param(
        {"type": "AssumedRole", "arn": f"arn:aws:sts::{A}:assumed-role//"},
        {"actor_kind": "temporary_credentials", "actor_arn": f"arn:aws:sts::{A}:assumed-role//"},
        id="AssumedRole whose ARN names nobody",
    ),
    pytest.param(
        {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{A}:assumed-role/OrgRoot/root-task",
            "sessionContext": {"assumedRoot": "true", "sessionIssuer": issuer("OrgRoot")},
        },
        {
            "actor_kind": "root",
            "actor_arn": f"arn:aws:sts::{A}:assumed-role/OrgRoot/root-task",
            "actor_account_id": A,
            "actor_user_name": "OrgRoot",
            "actor_session_name": "root-task",
            "session_issuer_arn": f"arn:aws:iam::{A}:role/OrgRoot",
        },
        id="session that assumed root",
    ),
    pytest.param(
        {"type": "AssumedRole", "sessionContext": {"assumedRoot": "false"}},
        {"actor_kind": "temporary_credentials"},
        id="session that did not assume root",
    ),
    pytest.param(
        {"type": "Role", "arn": f"arn:aws:iam::{A}:role/Platform", "userName": "Platform"},
        {
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws:iam::{A}:role/Platform",
            "actor_user_name": "Platform",
        },
        id="Role",
    ),
    pytest.param(
        {
            "type": "FederatedUser",
            "principalId": f"{A}:visitor",
            "arn": f"arn:aws:sts::{A}:federated-user/visitor",
            "accountId": A,
            "sessionContext": {"sessionIssuer": issuer("broker", "User")},
        },
        {
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws:sts::{A}:federated-user/visitor",
            "actor_account_id": A,
            "actor_principal_id": f"{A}:visitor",
            "actor_user_name": "broker",
            "actor_session_name": "visitor",
            "session_issuer_arn": f"arn:aws:iam::{A}:user/broker",
        },
        id="FederatedUser",
    ),
    pytest.param(
        {"type": "FederatedUser", "principalId": f"{A}:visitor", "arn": f"arn:aws:sts::{A}:federated-user/"},
        {
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws:sts::{A}:federated-user/",
            "actor_principal_id": f"{A}:visitor",
        },
        id="FederatedUser whose ARN names nobody",
    ),
    pytest.param(
        {"type": "SAMLUser", "principalId": "abc=:lee", "userName": "lee", "identityProvider": "abc="},
        {
            "actor_kind": "temporary_credentials",
            "actor_principal_id": "abc=:lee",
            "actor_user_name": "lee",
            "actor_session_name": "lee",
        },
        id="SAMLUser",
    ),
    pytest.param(
        {"type": "WebIdentityUser", "principalId": "accounts.example.org:app:42", "userName": "42"},
        {
            "actor_kind": "temporary_credentials",
            "actor_principal_id": "accounts.example.org:app:42",
            "actor_user_name": "42",
        },
        id="WebIdentityUser",
    ),
    pytest.param(
        {
            "type": "WebIdentityUser",
            "principalId": f"{PROVIDER}:sts.amazonaws.com:system:serviceaccount:shop:orders",
            "userName": "system:serviceaccount:shop:orders",
            "identityProvider": PROVIDER,
        },
        {
            "actor_kind": "temporary_credentials",
            "actor_principal_id": f"{PROVIDER}:sts.amazonaws.com:system:serviceaccount:shop:orders",
            "actor_user_name": "system:serviceaccount:shop:orders",
        },
        id="WebIdentityUser of a provider with an ARN",
    ),
    pytest.param(
        {
            "type": "IdentityCenterUser",
            "accountId": A,
            "onBehalfOf": {"userId": "94d00cd8-0000", "identityStoreArn": f"arn:aws:identitystore::{A}:d-1"},
            "credentialId": "c-1",
        },
        {
            "actor_kind": "temporary_credentials",
            "actor_account_id": A,
            "identity_center_user_id": "94d00cd8-0000",
        },
        id="IdentityCenterUser",
    ),
    pytest.param(
        {"type": "AWSService", "invokedBy": "airflow.amazonaws.com"},
        {"actor_kind": "aws_service", "invoked_by": "airflow.amazonaws.com"},
        id="AWSService",
    ),
    pytest.param(
        {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": "444455556666"},
        {"actor_kind": "aws_account", "actor_principal_id": "AIDAOTHER", "actor_account_id": "444455556666"},
        id="AWSAccount",
    ),
    pytest.param({"type": "Directory", "userName": "x"}, {"actor_kind": "directory", "actor_user_name": "x"}, id="Directory"),  # noqa: E501
    pytest.param({"type": "Unknown", "userName": "x"}, {"actor_user_name": "x"}, id="Unknown"),
    pytest.param({"type": "TypeOfTomorrow", "accountId": A}, {"actor_account_id": A}, id="type of tomorrow"),
    pytest.param(
        {"invokedBy": "logs.amazonaws.com"},
        {"actor_kind": "aws_service", "invoked_by": "logs.amazonaws.com"},
        id="no type, but invokedBy",
    ),
    pytest.param(
        {"invokedBy": "logs.amazonaws.com", "arn": f"arn:aws:iam::{A}:user/ines"},
        {"actor_arn": f"arn:aws:iam::{A}:user/ines", "invoked_by": "logs.amazonaws.com"},
        id="no type, but somebody for whom a service called",
    ),
    pytest.param(
        {"type": "TypeOfTomorrow", "invokedBy": "logs.amazonaws.com"},
        {"invoked_by": "logs.amazonaws.com"},
        id="type of tomorrow, for whom a service called",
    ),
    pytest.param({"accountId": A}, {"actor_account_id": A}, id="no type"),
    pytest.param({"type": None, "userName": "x"}, {"actor_user_name": "x"}, id="type null"),
    pytest.param(
        {"type": None, "invokedBy": "logs.amazonaws.com"},
        {"actor_kind": "aws_service", "invoked_by": "logs.amazonaws.com"},
        id="type null, but invokedBy",
    ),
    pytest.param({}, {}, id="empty"),
    pytest.param(
        dict.fromkeys(("arn", "accountId", "principalId", "userName", "accessKeyId", "invokedBy"), "")
        | {"sessionContext": {"sessionIssuer": dict.fromkeys(("arn", "accountId", "userName"), "")}}
        | {"onBehalfOf": {"userId": ""}},
        {},
        id="members empty",
    ),
    pytest.param(None, {}, id="null"),
    pytest.param("HIDDEN_DUE_TO_SECURITY_REASONS", {}, id="hidden"),
    pytest.param([{"type": "Root"}], {}, id="a list"),
    pytest.param(
        {"type": "IAMUser", "sessionContext": None, "onBehalfOf": "x", "userName": 7},
        {"actor_kind": "iam_user", "actor_user_name": "7"},
        id="members of other types",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("identity", "columns"), IDENTITIES)
def test_identity(identity: Any, columns: dict[str, Any]) -> None:
    assert actor_of({"userIdentity": identity}) == NOBODY._replace(**columns)


@pytest.mark.parametrize(("identity", "columns"), IDENTITIES)
def test_identity_in_a_record_that_is_written_as_documented(identity: Any, columns: dict[str, Any]) -> None:
    for row in both(json.dumps(FULL | {"userIdentity": identity}).encode()):
        assert isinstance(row, AuditEvent)
        assert {name: getattr(row, name) for name in Actor._fields} == NOBODY._replace(**columns)._asdict()


def test_no_identity_at_all() -> None:
    assert actor_of({}) == NOBODY
