"""
The external table over the log files of a trail: columns, SerDe and partition projection.

Sources: Amazon Athena user guide, "Create the table for CloudTrail logs using partition projection", "Create a table
for an organization wide trail" and "Supported types for partition projection". Athena recommends the JSON SerDe
because the older CloudTrail SerDe lacks newer members. The documented columns lack ``managementEvent``,
``annotation``, ``eventContext``, ``resources.ARNPrefix``, ``tlsDetails.keyExchange`` and, of ``userIdentity``,
``inScopeOf``, ``invokedByDelegate``, ``credentialId``, ``identityProvider`` and, of its session, ``sourceIdentity``,
``ec2IssuedInVpc``, ``assumedRoot`` and ``signInSessionArn``: here they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS
from airflow_provider_cloudtrail.pushdown.sql import checked, text_literal
from airflow_provider_cloudtrail.trail.log_file import Folder, TrailLocation

PARTITIONS = ("account", "region", "day")
"""Partitions of the table: account and Region of the key, and the day of *delivery*, ``YYYY/MM/DD``."""

INJECTED = "injected"
ENUM = "enum"
ACCOUNT_PROJECTIONS = (ENUM, INJECTED)

# What is taken out of context by a comma, a quote or a template does not get into a property.
_VALUE = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r"[A-Za-z0-9!_.()/=+@:,&-]*")


@dataclass(frozen=True)
class TrailTable:
    """
    The table over the log files of one layout of a trail.

    :param name: name of the table, checked.
    :param database: its database, checked; None: the connection's.
    :param location: where the trail delivers to; with the organization for the layout of an organization.
    :param account_ids: accounts of the layout.
    :param regions: Regions of the layout.
    :param since: first day of delivery that the table shows.
    :param account_projection: ``enum``: the accounts are part of the table, a few dozen at most; ``injected``: each
        query has to name its accounts.
    :raises ValueError: for what cannot be a property of a table.
    """

    name: str
    database: str | None
    location: TrailLocation
    account_ids: Sequence[str]
    regions: Sequence[str]
    since: date
    account_projection: str = ENUM

    def __post_init__(self) -> None:
        bucket = self.location.bucket
        if bucket.startswith("file://"):
            raise ValueError(f"bucket={bucket!r} is a folder; Athena reads S3 buckets only")
        if not _PLACE.fullmatch(self.folder):
            raise ValueError(
                f"{self.folder!r} has characters that a location template of Athena cannot hold; the log file prefix "
                "of a trail that Athena reads has letters, digits and -_./=+@:,&!() only"
            )
        if self.account_projection not in ACCOUNT_PROJECTIONS:
            raise ValueError(
                f"account_projection={self.account_projection!r} is unknown; write {' or '.join(ACCOUNT_PROJECTIONS)}"
            )
        for what, values in (("account_ids", self.account_ids), ("regions", self.regions)):
            if not values:
                raise ValueError(f"{what} is empty: the table would show nothing")
            if wrong := [value for value in values if not _VALUE.fullmatch(value)]:
                raise ValueError(f"{what}: {', '.join(map(repr, wrong))} cannot be a partition")

    @property
    def folder(self) -> str:
        """URI of the folder that holds the accounts, ending in a slash."""
        organization = f"{self.location.organization_id}/" if self.location.organization_id else ""
        return f"s3://{self.location.bucket}/{self.location.root}{organization}"

    @property
    def template(self) -> str:
        """Location of a partition, with its values to be filled in."""
        return f"{self.folder}${{account}}/{Folder.LOG.value}/${{region}}/${{day}}/"

    @property
    def properties(self) -> Mapping[str, str]:
        """Properties of the table: how its partitions are projected."""
        accounts = {"projection.account.type": self.account_projection}
        if self.account_projection == ENUM:
            accounts["projection.account.values"] = ",".join(sorted(self.account_ids))
        return {
            "classification": "cloudtrail",
            "projection.enabled": "true",
            **accounts,
            "projection.region.type": ENUM,
            "projection.region.values": ",".join(sorted(self.regions)),
            "projection.day.type": "date",
            "projection.day.format": "yyyy/MM/dd",
            "projection.day.range": f"{self.since:%Y/%m/%d},NOW",
            "projection.day.interval": "1",
            "projection.day.interval.unit": "DAYS",
            "storage.location.template": self.template,
        }

    @property
    def qualified(self) -> str:
        """Name of the table as DDL quotes it."""
        return ".".join(f"`{part}`" for part in (self.database, self.name) if part is not None)

    def create(self) -> str:
        """Return the statement that creates the table, if it is not there."""
        columns = ", ".join(f"`{field.column}` {field.type}" for field in RECORD_FIELDS)
        partitions = ", ".join(f"`{name}` STRING" for name in PARTITIONS)
        properties = ", ".join(f"{text_literal(name)} = {text_literal(v)}" for name, v in self.properties.items())
        return checked(
            f"CREATE EXTERNAL TABLE IF NOT EXISTS {self.qualified} ({columns}) PARTITIONED BY ({partitions}) "
            "ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe' "
            "STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat' "
            "OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat' "
            f"LOCATION {text_literal(self.folder)} TBLPROPERTIES ({properties})"
        )

    def update(self) -> str:
        """Return the statement that brings the projection of the table up to date, whoever created it."""
        properties = ", ".join(f"{text_literal(name)} = {text_literal(v)}" for name, v in self.properties.items())
        return checked(f"ALTER TABLE {self.qualified} SET TBLPROPERTIES ({properties})")
