"""Who makes the calls of a synthetic trail: the forms that ``userIdentity`` takes, and the people of the story."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
_CLI = "aws-cli/2.33.4 md/awscrt#0.29.2 ua/2.1 os/linux#6.12 md/arch#x86_64 lang/python#3.13.11"
_BOTO3 = "Boto3/1.42.39 md/Botocore#1.42.39 ua/2.1 os/linux#6.1 md/arch#aarch64 lang/python#3.12.12"


@dataclass(frozen=True)
class Caller:
    """
    One who makes calls.

    :param identity: ``userIdentity`` of the record.
    :param source_ip: ``sourceIPAddress``.
    :param user_agent: ``userAgent``.
    :param columns: what the audit table must say of the caller.
    """

    identity: Json
    source_ip: str
    user_agent: str
    columns: Mapping[str, Any] = field(default_factory=dict)


def unique_id(kind: str, name: str) -> str:
    """Return an id as IAM gives them: four letters for the kind, then letters and digits."""
    return kind + hashlib.sha256(name.encode()).hexdigest()[:17].upper()


def role_session(
    account: str, role: str, session: str, opened: str, *, mfa: bool = False, federated: bool = False
) -> Json:
    """
    Return the identity of a role session.

    :param opened: when the credentials were issued, as CloudTrail writes times.
    :param mfa: whether the session was opened with MFA.
    :param federated: whether it has federation data, empty as CloudTrail writes it.
    """
    role_id = unique_id("AROA", account + role)
    path = "aws-reserved/sso.amazonaws.com/" if role.startswith("AWSReservedSSO_") else ""
    context: Json = {
        "sessionIssuer": {
            "type": "Role",
            "principalId": role_id,
            "arn": f"arn:aws:iam::{account}:role/{path}{role}",
            "accountId": account,
            "userName": role,
        },
        "attributes": {"creationDate": opened, "mfaAuthenticated": "true" if mfa else "false"},
    }
    if federated:
        context["webIdFederationData"] = {}
    return {
        "type": "AssumedRole",
        "principalId": f"{role_id}:{session}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
        "accountId": account,
        "accessKeyId": unique_id("ASIA", account + role + session),
        "sessionContext": context,
    }


def iam_user(account: str, name: str, opened: str | None = None, *, mfa: bool = False) -> Json:
    """
    Return the identity of an IAM user.

    :param opened: None for long-term access keys, which say nothing about MFA.
    """
    identity: Json = {
        "type": "IAMUser",
        "principalId": unique_id("AIDA", account + name),
        "arn": f"arn:aws:iam::{account}:user/{name}",
        "accountId": account,
        "accessKeyId": unique_id("AKIA" if opened is None else "ASIA", account + name),
        "userName": name,
    }
    if opened is not None:
        attributes = {"creationDate": opened, "mfaAuthenticated": "true" if mfa else "false"}
        identity["sessionContext"] = {"attributes": attributes}
    return identity


def root(account: str, opened: str) -> Json:
    """Return the identity of an account's root user, signed in with MFA."""
    return {
        "type": "Root",
        "principalId": account,
        "arn": f"arn:aws:iam::{account}:root",
        "accountId": account,
        "accessKeyId": "",
        "sessionContext": {"attributes": {"creationDate": opened, "mfaAuthenticated": "true"}},
    }


def service(principal: str) -> Caller:
    """Return an AWS service that calls on its own, such as ``airflow.amazonaws.com``."""
    return Caller(
        {"type": "AWSService", "invokedBy": principal},
        principal,
        principal,
        {"actor_kind": "aws_service", "invoked_by": principal, "source_ip_address": principal},
    )


def execution_role(account: str, environment: str, opened: str) -> Caller:
    """Return an environment itself: the session of its execution role."""
    role = f"{environment}-execution"
    return Caller(
        role_session(account, role, "AmazonMWAA-airflow", opened),
        "10.192.21.14",
        _BOTO3,
        _temporary(role, "AmazonMWAA-airflow", False),
    )


def _temporary(role: str, session: str, mfa: bool) -> Json:
    return {
        "actor_kind": "temporary_credentials",
        "actor_user_name": role,
        "actor_session_name": session,
        "mfa_authenticated": mfa,
    }


def _user(name: str, mfa: bool | None) -> Json:
    return {
        "actor_kind": "iam_user",
        "actor_user_name": name,
        "actor_session_name": None,
        "mfa_authenticated": mfa,
    }


def cast(account: str, opened: str) -> dict[str, Caller]:
    """
    Return the people and programs of the story, by name.

    :param account: account that they act in.
    :param opened: when they opened their sessions, as CloudTrail writes times.
    """
    single_sign_on = "AWSReservedSSO_DataTeam_0a1b2c3d4e5f6071"
    alex = role_session(account, single_sign_on, "alex@example.com", opened, mfa=True, federated=True)
    store = "arn:aws:identitystore::111122223333:identitystore/d-0123456789"
    alex["onBehalfOf"] = {"userId": "0f1e2d3c-aaaa-4bbb-8ccc-001122334455", "identityStoreArn": store}

    def session(role: str, name: str, ip: str, agent: str, *, mfa: bool = False) -> Caller:
        return Caller(role_session(account, role, name, opened, mfa=mfa), ip, agent, _temporary(role, name, mfa))

    return {
        "dana": session("Platform", "dana", "198.51.100.7", _CLI, mfa=True),
        "lee": session("Analyst", "lee", "198.51.100.9", _BROWSER),
        "sam": Caller(iam_user(account, "sam"), "203.0.113.25", _CLI, _user("sam", None)),
        "kim": Caller(iam_user(account, "kim", opened, mfa=True), "192.0.2.44", _BROWSER, _user("kim", True)),
        "alex": Caller(
            alex,
            "198.51.100.23",
            _BROWSER,
            _temporary(single_sign_on, "alex@example.com", True)
            | {"identity_center_user_id": alex["onBehalfOf"]["userId"]},
        ),
        "root": Caller(
            root(account, opened),
            "203.0.113.77",
            _BROWSER,
            {"actor_kind": "root", "actor_user_name": None, "mfa_authenticated": True, "access_key_id": None},
        ),
        "pipeline": session("deploy-pipeline", "release-bot", "192.0.2.10", _CLI),
        "trigger": session("order-trigger", "order-trigger", "192.0.2.20", _BOTO3),
        "uptime": session("monitoring", "uptime-check", "192.0.2.30", _BOTO3),
    }


def other_identities(account: str, opened: str) -> dict[str, tuple[Json | str | None, Json]]:
    """Return the remaining forms of ``userIdentity``, with what the audit table must say of each."""
    federated_id = f"{account}:pat"
    return {
        "federated user": (
            {
                "type": "FederatedUser",
                "principalId": federated_id,
                "arn": f"arn:aws:sts::{account}:federated-user/pat",
                "accountId": account,
                "accessKeyId": unique_id("ASIA", federated_id),
                "sessionContext": {
                    "attributes": {"creationDate": opened, "mfaAuthenticated": "false"},
                    "sessionIssuer": {
                        "type": "IAMUser",
                        "principalId": unique_id("AIDA", account + "broker"),
                        "arn": f"arn:aws:iam::{account}:user/broker",
                        "accountId": account,
                        "userName": "broker",
                    },
                },
            },
            {
                "actor_kind": "temporary_credentials",
                "actor_user_name": "broker",
                "actor_session_name": "pat",
                "session_issuer_arn": f"arn:aws:iam::{account}:user/broker",
            },
        ),
        "SAML user": (
            {
                "type": "SAMLUser",
                "principalId": "Zm9v:robin@example.com",
                "userName": "robin@example.com",
                "identityProvider": "Zm9v",
            },
            {"actor_kind": "temporary_credentials", "actor_user_name": "robin@example.com"},
        ),
        "web identity": (
            {
                "type": "WebIdentityUser",
                "principalId": "accounts.example.com:app:1001",
                "userName": "1001",
                "identityProvider": "accounts.example.com",
            },
            {"actor_kind": "temporary_credentials", "actor_user_name": "1001"},
        ),
        "Identity Center user": (
            {
                "type": "IdentityCenterUser",
                "accountId": account,
                "onBehalfOf": {
                    "userId": "5a6b7c8d-aaaa-4bbb-8ccc-998877665544",
                    "identityStoreArn": "arn:aws:ids:::d-1",
                },
                "credentialId": "e1d2c3b4a5968778",
            },
            {
                "actor_kind": "temporary_credentials",
                "identity_center_user_id": "5a6b7c8d-aaaa-4bbb-8ccc-998877665544",
            },
        ),
        "another account": (
            {"type": "AWSAccount", "principalId": unique_id("AIDA", "stranger"), "accountId": "999900001111"},
            {"actor_kind": "aws_account", "actor_account_id": "999900001111", "actor_arn": None},
        ),
        "directory": (
            {"type": "Directory", "principalId": "d-0123456789", "userName": "toni", "accountId": account},
            {"actor_kind": "directory", "actor_user_name": "toni"},
        ),
        "unknown": ({"type": "Unknown", "userName": "nobody"}, {"actor_kind": "unknown"}),
        "a type of tomorrow": ({"type": "AgentUser", "agentId": "a-1"}, {"actor_kind": "unknown"}),
        "a service without type": (
            {"invokedBy": "cloudformation.amazonaws.com"},
            {"actor_kind": "aws_service", "invoked_by": "cloudformation.amazonaws.com"},
        ),
        "no type": ({"accountId": account, "principalId": ""}, {"actor_kind": "unknown", "actor_account_id": account}),
        "null": (None, {"actor_kind": "unknown", "actor_arn": None}),
        "hidden": ("HIDDEN_DUE_TO_SECURITY_REASONS", {"actor_kind": "unknown"}),
        "hidden name": (
            {"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS", "accountId": account, "accessKeyId": ""},
            {"actor_kind": "iam_user", "access_key_id": None},
        ),
    }
