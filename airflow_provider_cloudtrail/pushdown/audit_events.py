"""
One expression in SQL for each column of the audit table, over the columns of the trail's table.

They say in SQL what ``trail.record``, ``trail.actor``, ``trail.environment`` and ``trail.scrub`` say in Python, and a
test holds the two against each other. They are asked of records that ``unfit`` finds nothing wrong with; what SQL
cannot know is null.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField
from airflow_provider_cloudtrail.pushdown.selected import SESSION_NAME
from airflow_provider_cloudtrail.pushdown.sql import boolean, first_match, json_object, json_value, scalar, text_literal
from airflow_provider_cloudtrail.trail.actor import CONSOLE_SIGN_IN, KINDS
from airflow_provider_cloudtrail.trail.environment import (
    ARN_BEFORE_RESOURCE,
    ARN_MEMBERS,
    MWAA,
    MWAA_SERVERLESS,
    NAME,
    PARTITIONS,
)
from airflow_provider_cloudtrail.trail.outcome import DENIED, SIGN_INS
from airflow_provider_cloudtrail.trail.scrub import (
    DOCUMENTS_OF_API,
    MASK,
    SECRET_MEMBERS,
    SECRET_OF_REST_CALLS,
    SHORTEST_SECRET,
    TOLD_BY_AWS,
)

_FIELDS = {field.name: field for field in RECORD_FIELDS}

_IDENTITY = "useridentity"
_SESSION = "useridentity.sessioncontext"
_ISSUER = "useridentity.sessioncontext.sessionissuer"

# -- secrets: found in the text of the whole record, replaced in every column that holds a part of it ------------


def _member(names: frozenset[str]) -> str:
    return f'(?i)"(?:{"|".join(sorted(names))})"\\s*:\\s*'


def _counted(pattern: str) -> str:
    return f"cardinality(regexp_extract_all(record_text, {text_literal(pattern)}))"


_OF_ALL, _OF_REST_CALLS = _member(SECRET_MEMBERS), _member(SECRET_MEMBERS | SECRET_OF_REST_CALLS)
_HARMLESS = rf'(?:null|""|"{MASK.replace("*", "[*]")}")'
# Not the string of a secret that has escapes in it: elsewhere it can be written in another way.
_VALUE = rf'"([^"\\]{{{SHORTEST_SECRET},}})"'
# Nor what JSON may have outside of its strings, as it has numbers: they would be no JSON any more without it.
_ONLY_IN_STRINGS = r"(?s)^.*[^-+.,:0-9eE{}\[\]truefalsn].*"


def _in_secrets(pattern: str, others: str) -> str:
    """Return an expression with the names that are secret in a REST call, or in the others."""
    return f"CASE WHEN eventname = 'InvokeRestApi' THEN {pattern} ELSE {others} END"


IDENTITY_TEXT = json_value(_FIELDS["userIdentity"], _IDENTITY)

# Put together once: it is nearly half of the record.
RECORD_TEXT = json_object(RECORD_FIELDS, "").replace(IDENTITY_TEXT, "identity_text")
"""The record, put together again from the columns of the trail's table and ``identity_text``."""

SECRETS = _in_secrets(*(f"{_counted(names)} - {_counted(names + _HARMLESS)}" for names in (_OF_REST_CALLS, _OF_ALL)))
"""Number of secret members that have a value."""

SECRET_FOUND = first_match(
    _in_secrets(*(first_match("record_text", names + _VALUE, 1) for names in (_OF_REST_CALLS, _OF_ALL))),
    _ONLY_IN_STRINGS,
)
"""The value of a secret member, if it is one that can be taken out by its text."""


def _where_looked_for(*names: str) -> str:
    columns = [_FIELDS[document].column for document in DOCUMENTS_OF_API]
    return ", ".join(f"json_extract_scalar({column}, '$.{name}')" for column in columns for name in names)


_NAMES = ("CliToken", "WebToken", "RestApiResponse")
_LOOKED_FOR = _in_secrets(*(f"secret_found IN ({_where_looked_for(*names)})" for names in ((*_NAMES, "Body"), _NAMES)))
SECRET = f"CASE WHEN {_LOOKED_FOR} THEN secret_found END"
"""The secret that is to be taken out: the worker path looks for none elsewhere that stands deeper."""


def without_secret(expression: str) -> str:
    """Return a text in which the secret of the record is replaced by ``***``."""
    return f"CASE WHEN secret IS NULL THEN {expression} ELSE replace({expression}, secret, '{MASK}') END"


SCRUBBED = tuple(field.column for field in RECORD_FIELDS if field.type == "STRING" and field.name not in TOLD_BY_AWS)
"""Columns of the trail's table in which a secret is replaced; records with one in a struct are left alone."""

# -- the environment -------------------------------------------------------------------------------------------

# What trail.environment takes out of an ARN by groups is taken out of the text by further expressions here.
_ARN = (
    f"(?:{ARN_BEFORE_RESOURCE[MWAA]}(?:environment|role)/{NAME}"
    f"|{ARN_BEFORE_RESOURCE[MWAA_SERVERLESS]}workflow/[A-Za-z0-9_-]+)"
)
_OF_MWAA = f"eventsource IN ('{MWAA}', '{MWAA_SERVERLESS}')"
_ARN_IN_RESOURCES = (
    f"element_at(filter(transform(resources, item -> {first_match('item.arn', f'^{_ARN}')}), "
    "found -> found IS NOT NULL), 1)"
)
_ARN_IN_RECORD = ", ".join((
    *(
        first_match(f"json_extract_scalar({_FIELDS[document].column}, '$.{name}')", f"^{_ARN}")
        for document, name in ARN_MEMBERS
    ),
    first_match("errormessage", _ARN),
    first_match("json_extract_scalar(responseelements, '$.message')", _ARN),
))

ARN_FOUND = f"COALESCE({_ARN_IN_RESOURCES}, CASE WHEN {_OF_MWAA} THEN COALESCE({_ARN_IN_RECORD}) END)"
"""The ARN that names the environment, or a role of it, or a workflow."""

_NAME_IN_PARAMETERS = (
    f"CASE WHEN {_OF_MWAA} THEN "
    f"COALESCE({scalar('requestparameters', 'Name')}, {scalar('requestparameters', 'name')}) END"
)
_NAME_IN_ARN = (
    "CASE WHEN arn_found LIKE '%:workflow/%' THEN COALESCE("
    + first_match("arn_found", r":workflow/(.+)-[A-Za-z0-9]{10}\z", 1)
    + ", "
    + first_match("arn_found", r":workflow/(.+)\z", 1)
    + ") ELSE "
    + first_match("arn_found", r":(?:environment|role)/(.+)\z", 1)
    + " END"
)
ENVIRONMENT_NAME = f"COALESCE({_NAME_IN_PARAMETERS}, {_NAME_IN_ARN})"

_PARTITION = (
    "CASE "
    + " ".join(f"WHEN starts_with(awsregion, '{start}') THEN '{partition}'" for start, partition in PARTITIONS)
    + " ELSE 'aws' END"
)
_ENVIRONMENT_ARN = (
    "CASE WHEN arn_found IS NOT NULL AND NOT arn_found LIKE '%:role/%' THEN arn_found"
    f" WHEN eventsource = '{MWAA}' AND regexp_like(environment_name, '^{NAME}\\z')"
    " AND awsregion <> '' AND recipientaccountid <> ''"
    f" THEN concat('arn:', {_PARTITION}, ':airflow:', awsregion, ':', recipientaccountid, ':environment/',"
    " environment_name) END"
)

# -- the caller ------------------------------------------------------------------------------------------------

_KIND = (
    "CASE"
    f" WHEN {_IDENTITY}.type IS NULL AND {_IDENTITY}.invokedby <> '' AND COALESCE({_IDENTITY}.arn, '') = ''"
    " THEN 'aws_service'"
    f" WHEN {boolean(_SESSION + '.assumedroot')} THEN 'root'"
    + "".join(f" WHEN {_IDENTITY}.type = '{name}' THEN '{kind}'" for name, kind in KINDS.items())
    + " ELSE 'unknown' END"
)
_MFA = (
    f"CASE WHEN {_SESSION}.attributes.mfaauthenticated IS NULL AND eventname = '{CONSOLE_SIGN_IN}'"
    " THEN CASE json_extract_scalar(additionaleventdata, '$.MFAUsed') WHEN 'Yes' THEN true WHEN 'No' THEN false END"
    f" ELSE {boolean(_SESSION + '.attributes.mfaauthenticated')} END"
)
_ROLE = first_match(f"{_IDENTITY}.arn", "^[^/]*:assumed-role/([^/]*)/", 1)


def _text(column: str) -> str:
    return f"NULLIF({column}, '')"


# -- what became of the call -----------------------------------------------------------------------------------

_STATUS = "json_extract_scalar(responseelements, '$.RestApiStatusCode')"
REST_STATUS = f"CASE WHEN regexp_like({_STATUS}, '^[1-9][0-9][0-9]\\z') THEN CAST({_STATUS} AS bigint) END"


def _of_sign_in(document: str) -> str:
    """Return an expression with what became of a sign-in, if the event is one."""
    names = "".join(f" WHEN '{name}' THEN json_extract_scalar({document}, '$.{name}')" for name in sorted(SIGN_INS))
    return f"CASE eventname{names} END"


_OUTCOME = (
    "CASE WHEN rest_status IN (401, 403) THEN 'denied'"
    f" WHEN {_text('errorcode')} <> '200'"
    f" THEN CASE WHEN regexp_like(errorcode, '{DENIED}') THEN 'denied' ELSE 'error' END"
    " WHEN rest_status >= 400 THEN 'error'"
    f" WHEN 'Failure' IN ({_of_sign_in('responseelements')}, {_of_sign_in('serviceeventdetails')}) THEN 'denied'"
    " ELSE 'success' END"
)


def _of_rest_call(name: str) -> str:
    return f"CASE WHEN eventname = 'InvokeRestApi' THEN {scalar('requestparameters', name)} END"


# -- the table -------------------------------------------------------------------------------------------------

_EVENT_TIME = "TRY_CAST(replace(substr(eventtime, 1, 19), 'T', ' ') AS timestamp(6))"

COLUMNS: Mapping[str, str] = {
    "event_id": "eventid",
    "event_time": _EVENT_TIME,
    "event_source": _text("eventsource"),
    "event_name": _text("eventname"),
    "event_category": _text("eventcategory"),
    "event_type": _text("eventtype"),
    "event_version": _text("eventversion"),
    "aws_region": _text("awsregion"),
    "recipient_account_id": _text("recipientaccountid"),
    "environment_name": "environment_name",
    "environment_arn": _ENVIRONMENT_ARN,
    "actor_kind": _KIND,
    "actor_arn": _text(f"{_IDENTITY}.arn"),
    "actor_account_id": f"COALESCE({_text(_IDENTITY + '.accountid')}, {_text(_ISSUER + '.accountid')})",
    "actor_principal_id": _text(f"{_IDENTITY}.principalid"),
    "actor_user_name": f"COALESCE({_text(_IDENTITY + '.username')}, {_text(_ISSUER + '.username')}, {_ROLE})",
    "actor_session_name": SESSION_NAME,
    "session_issuer_arn": _text(f"{_ISSUER}.arn"),
    "access_key_id": _text(f"{_IDENTITY}.accesskeyid"),
    "mfa_authenticated": _MFA,
    "identity_center_user_id": _text(f"{_IDENTITY}.onbehalfof.userid"),
    "invoked_by": _text(f"{_IDENTITY}.invokedby"),
    "source_ip_address": _text("sourceipaddress"),
    "user_agent": _text("useragent"),
    "outcome": _OUTCOME,
    "error_code": _text("errorcode"),
    "error_message": (
        f"COALESCE({_text('errormessage')}, CASE WHEN errorcode <> '' THEN {scalar('responseelements', 'message')} END)"
    ),
    "read_only": boolean("readonly"),
    "management_event": boolean("managementevent"),
    "rest_method": _of_rest_call("Method"),
    "rest_path": _of_rest_call("Path"),
    "rest_status_code": "rest_status",
    "request_id": _text("requestid"),
    "shared_event_id": _text("sharedeventid"),
    "request_parameters": "requestparameters",
    "response_elements": "responseelements",
    "resources": json_value(_FIELDS["resources"], "resources"),
    "raw_event": without_secret("record_text"),
    "redacted": "CAST(CASE WHEN secret IS NULL THEN 0 ELSE 1 END AS bigint)",
    "log_file_uri": "log_file_uri",
    # A row of the trail's table does not know its position in the file.
    "log_file_index": "CAST(NULL AS bigint)",
    "delivered_at": "delivered_at",
    "loaded_at": "loaded_at",
    "loaded_by": "loaded_by",
}
"""Expression for each column of :class:`~airflow_provider_cloudtrail.audit_event.AuditEvent`, in their order."""


def _columns(*fields: RecordField) -> tuple[str, ...]:
    return tuple(field.column for field in fields)


SOURCE_COLUMNS = _columns(*RECORD_FIELDS)
"""Columns of the trail's table that the expressions read."""
