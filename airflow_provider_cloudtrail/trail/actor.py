"""
Who made a call: the columns that ``userIdentity`` gives.

Source: AWS CloudTrail user guide, "CloudTrail userIdentity element". Every member is optional, and the
element itself may be null or, in masked records, a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_cloudtrail.trail.fields import boolean, member, text, texts

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.trail.documented_record import DocumentedRecord

WEB_IDENTITY = "WebIdentityUser"
"""Type of an identity that has no role session yet, whatever its principal id looks like."""
CONSOLE_SIGN_IN = "ConsoleLogin"
"""Event that opens a session, and says itself whether with MFA."""
KINDS = {
    "Root": "root",
    "AssumedRoot": "root",
    "IAMUser": "iam_user",
    "AssumedRole": "temporary_credentials",
    "Role": "temporary_credentials",
    "FederatedUser": "temporary_credentials",
    "SAMLUser": "temporary_credentials",
    WEB_IDENTITY: "temporary_credentials",
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
    role, session_name = _role_and_session(kind_name, arn, principal_id)
    return Actor(
        _kind(kind_name, identity.get("type") is not None, arn, invoked_by, session.get("assumedRoot")),
        arn,
        account_id or issuer_account_id,
        principal_id,
        user_name or issuer_user_name or role,
        session_name,
        issuer_arn,
        access_key_id,
        _mfa(attributes.get("mfaAuthenticated"), record.get("eventName"), record.get("additionalEventData")),
        text(member(identity, "onBehalfOf").get("userId")) if "onBehalfOf" in identity else None,
        invoked_by,
    )


def documented_actor(found: DocumentedRecord) -> Actor:
    """Return the caller of a record that is written as documented, the same as :func:`actor_of` does."""
    identity = found.user_identity
    session = identity.session_context
    issuer = session.session_issuer
    kind_name, arn, principal_id = identity.type, identity.arn or None, identity.principal_id or None
    invoked_by = identity.invoked_by or None
    role, session_name = _role_and_session(kind_name, arn, principal_id)
    has_type = kind_name.__class__ is str
    return Actor._make((
        _kind(cast(str, kind_name) if has_type else None, has_type, arn, invoked_by, session.assumed_root),
        arn,
        identity.account_id or issuer.account_id or None,
        principal_id,
        identity.user_name or issuer.user_name or role,
        session_name,
        issuer.arn or None,
        identity.access_key_id or None,
        _mfa(session.attributes.mfa_authenticated, found.event_name, found.additional_event_data),
        identity.on_behalf_of.user_id or None,
        invoked_by,
    ))


def _kind(name: str | None, has_type: bool, arn: str | None, invoked_by: str | None, assumed_root: Any) -> str:
    kind = KINDS.get(name or "", "unknown")
    if not has_type and invoked_by and arn is None:
        return "aws_service"
    return "root" if assumed_root is not None and boolean(assumed_root) else kind


def _mfa(of_session: Any, event_name: Any, additional: Any) -> bool | None:
    if of_session is None and event_name == CONSOLE_SIGN_IN and isinstance(additional, dict):
        used = additional.get("MFAUsed")
        return True if used == "Yes" else False if used == "No" else None
    return boolean(of_session)


def _role_and_session(kind_name: Any, arn: str | None, principal_id: str | None) -> tuple[str | None, str | None]:
    """Return role and session name: ``:assumed-role/ROLE/SESSION``, ``:federated-user/SESSION`` or ``ID:SESSION``."""
    if arn is not None:
        kind, _, names = arn.partition("/")
        if kind.endswith(":federated-user"):
            return None, names or None
        role, found, session = names.partition("/")
        return (role or None, session or None) if found and kind.endswith(":assumed-role") else (None, None)
    # That of a web identity has provider, audience and user, and colons in each: the provider is often an ARN.
    if principal_id is None or kind_name == WEB_IDENTITY:
        return None, None
    return None, principal_id.partition(":")[2] or None
