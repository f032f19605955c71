"""
Who made a call: the columns that ``userIdentity`` gives.

Source: AWS CloudTrail user guide, "CloudTrail userIdentity element". Every member is optional, and the
element itself may be null or, in masked records, a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.trail.fields import boolean, member, text, texts

KINDS = {
    "Root": "root",
    "AssumedRoot": "root",
    "IAMUser": "iam_user",
    "AssumedRole": "temporary_credentials",
    "Role": "temporary_credentials",
    "FederatedUser": "temporary_credentials",
    "SAMLUser": "temporary_credentials",
    "WebIdentityUser": "temporary_credentials",
    "IdentityCenterUser": "temporary_credentials",
    "AWSService": "aws_service",
    "AWSAccount": "aws_account",
    "Directory": "directory",
}
"""``actor_kind`` by the type of an identity."""


_IDENTITY = ("type", "arn", "accountId", "principalId", "userName", "accessKeyId", "invokedBy")
_ISSUER = ("accountId", "userName", "arn")


class Actor(NamedTuple):
    """The caller of one event; the fields are columns of :class:`~..audit_event.AuditEvent`."""

    actor_kind: str
    actor_arn: str | None
    actor_account_id: str | None
    actor_principal_id: str | None
    actor_user_name: str | None
    actor_session_name: str | None
    session_issuer_arn: str | None
    access_key_id: str | None
    mfa_authenticated: bool | None
    identity_center_user_id: str | None
    invoked_by: str | None


def actor_of(record: Mapping[str, Any]) -> Actor:
    """
    Return the caller of a decoded record, whatever its ``userIdentity`` is.

    :param record: a CloudTrail record.
    """
    identity = member(record, "userIdentity")
    session = member(identity, "sessionContext")
    attributes = member(session, "attributes")
    kind_name, arn, account_id, principal_id, user_name, access_key_id, invoked_by = texts(identity, _IDENTITY)
    issuer_account_id, issuer_user_name, issuer_arn = texts(member(session, "sessionIssuer"), _ISSUER)
    kind = KINDS.get(kind_name or "", "unknown")
    if kind == "unknown" and "type" not in identity and invoked_by and arn is None:
        kind = "aws_service"
    elif boolean(session.get("assumedRoot")):
        kind = "root"
    role, session_name = _role_and_session(arn, principal_id)
    return Actor(
        kind,
        arn,
        account_id or issuer_account_id,
        principal_id,
        user_name or issuer_user_name or role,
        session_name,
        issuer_arn,
        access_key_id,
        boolean(attributes.get("mfaAuthenticated")),
        text(member(identity, "onBehalfOf").get("userId")) if "onBehalfOf" in identity else None,
        invoked_by,
    )


def _role_and_session(arn: str | None, principal_id: str | None) -> tuple[str | None, str | None]:
    """Return role and role session name, from ``...:assumed-role/ROLE/SESSION`` or ``ROLE-ID:SESSION``."""
    if arn is not None:
        kind, _, names = arn.partition("/")
        role, found, session = names.partition("/")
        return (role or None, session or None) if found and kind.endswith(":assumed-role") else (None, None)
    return None, (principal_id.partition(":")[2] or None) if principal_id is not None else None
