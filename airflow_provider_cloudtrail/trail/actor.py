"""
Who made a call: the columns that ``userIdentity`` gives.

Source: AWS CloudTrail user guide, "CloudTrail userIdentity element". Every member is optional, and the
element itself may be null or, in masked records, a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.trail.fields import boolean, member, text

_KINDS = {
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
    issuer = member(session, "sessionIssuer")
    attributes = member(session, "attributes")
    invoked_by = text(identity.get("invokedBy"))
    arn = text(identity.get("arn"))
    principal_id = text(identity.get("principalId"))
    kind = _KINDS.get(text(identity.get("type")) or "", "unknown")
    if kind == "unknown" and "type" not in identity and invoked_by and arn is None:
        kind = "aws_service"
    elif boolean(session.get("assumedRoot")):
        kind = "root"
    role, session_name = _role_and_session(arn, principal_id)
    return Actor(
        actor_kind=kind,
        actor_arn=arn,
        actor_account_id=text(identity.get("accountId")) or text(issuer.get("accountId")),
        actor_principal_id=principal_id,
        actor_user_name=text(identity.get("userName")) or text(issuer.get("userName")) or role,
        actor_session_name=session_name,
        session_issuer_arn=text(issuer.get("arn")),
        access_key_id=text(identity.get("accessKeyId")),
        mfa_authenticated=boolean(attributes.get("mfaAuthenticated")),
        identity_center_user_id=text(member(identity, "onBehalfOf").get("userId")),
        invoked_by=invoked_by,
    )


def _role_and_session(arn: str | None, principal_id: str | None) -> tuple[str | None, str | None]:
    """Return role and role session name, from ``...:assumed-role/ROLE/SESSION`` or ``ROLE-ID:SESSION``."""
    if arn is not None:
        kind, _, names = arn.partition("/")
        role, found, session = names.partition("/")
        return (role or None, session or None) if found and kind.endswith(":assumed-role") else (None, None)
    return None, (principal_id.partition(":")[2] or None) if principal_id is not None else None
