"""
Records as AWS documents them, decoded by msgspec into their members without a dictionary in between.

Source: AWS CloudTrail user guide, "CloudTrail record contents". Whatever is written otherwise, be it one
unknown member or a number where text is documented, is refused here and left to the lenient way, see ``fields``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_NAMES = {
    "event_id": "eventID",
    "request_id": "requestID",
    "shared_event_id": "sharedEventID",
    "source_ip_address": "sourceIPAddress",
}


def _documented_name(name: str) -> str:
    first, *others = name.split("_")
    return _NAMES.get(name) or first + "".join(map(str.capitalize, others))


# Those below are not tracked by the garbage collector: what was decoded from JSON holds no cycles.
class Documented(msgspec.Struct, forbid_unknown_fields=True, rename=_documented_name, frozen=True):
    """An object whose members are all documented; absent ones and null are alike."""


class SessionIssuer(Documented, frozen=True, gc=False):
    """Who the credentials of a session came from."""

    account_id: str | None = None
    user_name: str | None = None
    arn: str | None = None
    type: Any = None
    principal_id: Any = None


class SessionAttributes(Documented, frozen=True, gc=False):
    """How a session began."""

    mfa_authenticated: str | bool | None = None
    creation_date: Any = None


class SessionContext(Documented, frozen=True, gc=False):
    """The session in which a call was made."""

    session_issuer: SessionIssuer = SessionIssuer()
    attributes: SessionAttributes = SessionAttributes()
    assumed_root: str | bool | None = None
    web_id_federation_data: Any = None
    source_identity: Any = None
    ec2_role_delivery: Any = None
    ec2_issued_in_vpc: Any = None
    sign_in_session_arn: Any = None


class OnBehalfOf(Documented, frozen=True, gc=False):
    """The user of IAM Identity Center for whom a call was made."""

    user_id: str | None = None
    identity_store_arn: Any = None


class UserIdentity(Documented, frozen=True, gc=False):
    """Who made a call."""

    type: str | msgspec.UnsetType = msgspec.UNSET
    arn: str | None = None
    account_id: str | None = None
    principal_id: str | None = None
    user_name: str | None = None
    access_key_id: str | None = None
    invoked_by: str | None = None
    session_context: SessionContext = SessionContext()
    on_behalf_of: OnBehalfOf = OnBehalfOf()
    identity_provider: Any = None
    credential_id: Any = None
    in_scope_of: Any = None
    invoked_by_delegate: Any = None


class DocumentedRecord(Documented, frozen=True, gc=False):
    """The members of a record. Those that become no column are decoded too, so that all of it is checked."""

    event_id: str
    event_time: str
    event_source: str | None = None
    event_name: str | None = None
    event_category: str | None = None
    event_type: str | None = None
    event_version: str | None = None
    aws_region: str | None = None
    recipient_account_id: str | None = None
    source_ip_address: str | None = None
    user_agent: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    request_id: str | None = None
    shared_event_id: str | None = None
    read_only: bool | None = None
    management_event: bool | None = None
    user_identity: UserIdentity = UserIdentity()
    request_parameters: Any = None
    response_elements: Any = None
    resources: Any = None
    additional_event_data: Any = None
    addendum: Any = None
    annotation: Any = None
    api_version: Any = None
    edge_device_details: Any = None
    event_context: Any = None
    insight_details: Any = None
    service_event_details: Any = None
    session_credential_from_console: Any = None
    tls_details: Any = None
    vpc_endpoint_account_id: Any = None
    vpc_endpoint_id: Any = None


decode_documented: Callable[[bytes], DocumentedRecord] = msgspec.json.Decoder(DocumentedRecord).decode
"""Decode a record; raises an error of msgspec for one that is not written as documented."""
