"""
The members of a CloudTrail record as columns of a table over log files.

Sources: AWS CloudTrail user guide, "CloudTrail record contents" and "userIdentity element" (eventVersion 1.11);
Amazon Athena user guide, "Query AWS CloudTrail logs". The shapes are those that Athena documents: objects whose
members differ from service to service (``requestParameters``) are text, objects with named members are structs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Shape(Enum):
    """What a member is in the record, and so in the table."""

    TEXT = "STRING"
    BOOLEAN = "BOOLEAN"
    """``true`` or ``false``, in some records as text: kept as text, which holds both."""
    JSON = "JSON"
    """An object of any members, kept as its JSON text."""
    MAP = "MAP<STRING, STRING>"
    OBJECT = "STRUCT"
    LIST = "ARRAY"
    """A list of objects with named members."""


@dataclass(frozen=True)
class RecordField:
    """
    A member of a record.

    :param name: its name in the record; in the table it is in lower case.
    :param shape: what it is.
    :param members: of an object, or of the objects of a list.
    """

    name: str
    shape: Shape = Shape.TEXT
    members: tuple[RecordField, ...] = ()

    @property
    def column(self) -> str:
        """Name of the column, or of the field of a struct."""
        return self.name.lower()

    @property
    def type(self) -> str:
        """Type in the table, as Athena's DDL writes it."""
        if self.shape in (Shape.TEXT, Shape.BOOLEAN, Shape.JSON):
            return "STRING"
        if self.shape is Shape.MAP:
            return str(self.shape.value)
        members = ", ".join(f"{member.column}: {member.type}" for member in self.members)
        return f"STRUCT<{members}>" if self.shape is Shape.OBJECT else f"ARRAY<STRUCT<{members}>>"


def _texts(*names: str) -> tuple[RecordField, ...]:
    return tuple(RecordField(name) for name in names)


_USER_IDENTITY = (
    *_texts("type", "principalId", "arn", "accountId", "accessKeyId", "userName", "invokedBy"),
    RecordField(
        "sessionContext",
        Shape.OBJECT,
        (
            RecordField("attributes", Shape.OBJECT, _texts("creationDate", "mfaAuthenticated")),
            RecordField("sessionIssuer", Shape.OBJECT, _texts("type", "principalId", "arn", "accountId", "userName")),
            RecordField(
                "webIdFederationData",
                Shape.OBJECT,
                (RecordField("federatedProvider"), RecordField("attributes", Shape.MAP)),
            ),
            *_texts("sourceIdentity", "ec2RoleDelivery", "ec2IssuedInVpc", "assumedRoot", "signInSessionArn"),
        ),
    ),
    RecordField("invokedByDelegate", Shape.OBJECT, _texts("accountId")),
    RecordField("onBehalfOf", Shape.OBJECT, _texts("userId", "identityStoreArn")),
    RecordField("inScopeOf", Shape.OBJECT, _texts("sourceArn", "sourceAccount", "issuerType", "credentialsIssuedTo")),
    *_texts("credentialId", "identityProvider"),
)

RECORD_FIELDS = (
    RecordField("eventVersion"),
    RecordField("userIdentity", Shape.OBJECT, _USER_IDENTITY),
    *_texts("eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent"),
    *_texts("errorCode", "errorMessage"),
    RecordField("requestParameters", Shape.JSON),
    RecordField("responseElements", Shape.JSON),
    RecordField("additionalEventData", Shape.JSON),
    *_texts("requestID", "eventID"),
    RecordField("readOnly", Shape.BOOLEAN),
    RecordField("resources", Shape.LIST, _texts("accountId", "type", "ARN", "ARNPrefix")),
    *_texts("eventType", "apiVersion"),
    RecordField("managementEvent", Shape.BOOLEAN),
    RecordField("recipientAccountId"),
    RecordField("serviceEventDetails", Shape.JSON),
    *_texts("sharedEventID", "vpcEndpointId", "vpcEndpointAccountId", "eventCategory"),
    RecordField("addendum", Shape.OBJECT, _texts("reason", "updatedFields", "originalRequestID", "originalEventID")),
    RecordField("sessionCredentialFromConsole"),
    RecordField("edgeDeviceDetails", Shape.JSON),
    RecordField(
        "tlsDetails", Shape.OBJECT, _texts("tlsVersion", "cipherSuite", "clientProvidedHostHeader", "keyExchange")
    ),
    RecordField(
        "eventContext",
        Shape.OBJECT,
        (
            RecordField("requestContext", Shape.MAP),
            RecordField(
                "tagContext",
                Shape.OBJECT,
                (
                    RecordField("resourceTags", Shape.LIST, (RecordField("arn"), RecordField("tags", Shape.MAP))),
                    RecordField("principalTags", Shape.MAP),
                ),
            ),
        ),
    ),
    RecordField("annotation"),
)
"""All members of a record, in the order in which the user guide describes and CloudTrail writes them."""
