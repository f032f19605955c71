"""The table over a trail: its statement, its columns, and whether its partitions are the folders of real trails."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.pushdown.audit_events import SOURCE_COLUMNS
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS
from airflow_provider_cloudtrail.pushdown.trail_table import INJECTED, PARTITIONS, TrailTable
from airflow_provider_cloudtrail.trail.log_file import TrailLocation, log_file
from tests.support.log_files import ACCOUNT, REGION

sqlglot = pytest.importorskip("sqlglot")
exp = sqlglot.exp

# Members that Athena's documented table for CloudTrail lacks (user guide, "create-cloudtrail-table").
LACKING = {
    "managementevent",
    "annotation",
    "eventcontext",
    "inscopeof",
    "invokedbydelegate",
    "credentialid",
    "identityprovider",
    "sourceidentity",
    "ec2issuedinvpc",
    "assumedroot",
    "signinsessionarn",
    "keyexchange",
    "arnprefix",
}


def table_of(location: TrailLocation, accounts=(ACCOUNT,), regions=(REGION,), **more) -> TrailTable:
    return TrailTable(
        more.pop("name", "logs"), more.pop("database", "audit"), location, accounts, regions, date(2026, 2, 1), **more
    )


TABLE = table_of(TrailLocation("example-trail"))


def projected(table: TrailTable, until: date) -> set[str]:
    """Return the location of every partition, as Athena's partition projection makes them of the properties."""
    properties = table.properties
    values = {name: properties[f"projection.{name}.values"].split(",") for name in ("account", "region")}
    first, last = properties["projection.day.range"].split(",")
    assert (last, properties["projection.day.format"]) == ("NOW", "yyyy/MM/dd")
    assert (properties["projection.day.interval"], properties["projection.day.interval.unit"]) == ("1", "DAYS")
    start = date.fromisoformat(first.replace("/", "-"))
    days = [f"{start + timedelta(days=number):%Y/%m/%d}" for number in range((until - start).days + 1)]
    template = properties["storage.location.template"]
    assert set(re.findall(r"\$\{(\w+)\}", template)) == set(PARTITIONS)
    return {
        template.replace("${account}", account).replace("${region}", region).replace("${day}", day)
        for account in values["account"]
        for region in values["region"]
        for day in days
    }


@pytest.mark.parametrize(
    ("organization_id", "prefix"),
    [
        pytest.param("o-exampleorgid", "", id="organization"),
        pytest.param("o-exampleorgid", "audit/cloud trail".replace(" ", "-"), id="organization-prefix"),
        pytest.param(None, "", id="accounts"),
        pytest.param(None, "audit", id="accounts-prefix"),
    ],
)
def test_the_partitions_are_the_folders_of_the_trail(organization_id, prefix):
    plan = TrailPlan(organization_id=organization_id, prefix=prefix, files_per_day=1, records_per_file=1)
    keys = [written.key for written in generate(plan)]
    logs = {key for key in keys if log_file(plan.bucket, key) is not None}
    folders = {f"s3://{plan.bucket}/{key.rpartition('/')[0]}/" for key in logs}
    location = TrailLocation(plan.bucket, prefix, organization_id)
    found = projected(table_of(location, plan.accounts, plan.regions), date(2026, 2, 5))
    assert folders <= found
    # Digests, Insights and what else lies in the bucket are in folders of their own.
    assert not {f"s3://{plan.bucket}/{key.rpartition('/')[0]}/" for key in keys if "/CloudTrail-" in key} & found


class TestStatement:
    def test_is_read_as_athena_reads_it(self):
        (parsed,) = sqlglot.parse(TABLE.create(), read="athena")
        assert isinstance(parsed, exp.Create)
        assert [column.name for column in parsed.this.expressions] == [field.column for field in RECORD_FIELDS]
        properties = {
            type(entry).__name__: entry
            for entry in parsed.args["properties"].expressions
            if type(entry) is not exp.Property
        }
        partitions = properties["PartitionedByProperty"].this.expressions
        assert tuple(column.name for column in partitions) == PARTITIONS
        assert "LocationProperty" in properties
        written = {
            entry.this.name: entry.args["value"].name
            for entry in parsed.args["properties"].expressions
            if type(entry) is exp.Property
        }
        assert written == dict(TABLE.properties)

    def test_has_the_columns_that_the_expressions_read(self):
        assert tuple(field.column for field in RECORD_FIELDS) == SOURCE_COLUMNS
        assert len(set(SOURCE_COLUMNS) | set(PARTITIONS)) == len(SOURCE_COLUMNS) + len(PARTITIONS)

    def test_has_what_the_documented_table_lacks(self):
        names = set(re.findall(r"[a-z0-9]+(?=`? ?:? ?(?:STRING|STRUCT|MAP|ARRAY))", TABLE.create()))
        assert names >= LACKING

    def test_is_short_enough_for_athena_and_says_so_if_not(self):
        assert len(TABLE.create()) < 10_000
        with pytest.raises(ValueError, match=r"262144.*fewer account_ids"):
            table_of(TrailLocation("b"), [f"{number:012d}" for number in range(25_000)]).create()

    def test_the_update_sets_the_same_properties(self):
        assert isinstance(sqlglot.parse_one(TABLE.update(), read="athena"), exp.Alter)
        assert TABLE.update().startswith("ALTER TABLE `audit`.`logs` SET TBLPROPERTIES (")
        for name, value in TABLE.properties.items():
            assert f"'{name}' = '{value}'" in TABLE.update()

    def test_injected_accounts_are_not_listed(self):
        table = table_of(TrailLocation("b"), account_projection=INJECTED)
        assert table.properties["projection.account.type"] == "injected"
        assert "projection.account.values" not in table.properties

    def test_without_a_database_it_is_that_of_the_connection(self):
        assert table_of(TrailLocation("b"), database=None).qualified == "`logs`"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"location": TrailLocation("file:///copy-of-a-bucket")}, "is a folder", id="folder"),
        pytest.param({"location": TrailLocation("b", "a${x}")}, "location template", id="template"),
        pytest.param({"location": TrailLocation("b", "it's")}, "location template", id="quote"),
        pytest.param({"accounts": ()}, "account_ids is empty", id="no-accounts"),
        pytest.param({"regions": ("eu-west-1,x",)}, "regions: 'eu-west-1,x'", id="comma"),
        pytest.param({"accounts": ("1'; DROP",)}, "account_ids:", id="injection"),
        pytest.param({"account_projection": "all"}, "enum or injected", id="projection"),
    ],
)
def test_what_cannot_be_a_table_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        table_of(**({"location": TrailLocation("b")} | change))
