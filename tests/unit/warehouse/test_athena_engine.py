from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import ATHENA, AthenaHook, airflow_athena_hook, athena_extra, staging_folder
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")


def test_staging_folder_is_needed_before_any_work():
    with pytest.raises(ValueError, match=r"Athena needs staging_uri: .* write s3://bucket/folder, the same for all"):
        open_warehouse(AthenaHook({}))


def test_lost_commit_is_tried_again(athena_warehouse, athena):
    athena.commit_errors = 2
    (entry,) = athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert (entry.loaded, athena.commit_errors) == (1, 0)
    assert_balanced(read_table(athena_warehouse))


def test_errors_say_what_is_wrong_with_the_connection(athena_place, s3_server):
    staging = staging_folder(athena_place["s3"], athena_place["bucket"])
    for changed, said in (
        ({"work_group": "other"}, r"InvalidRequestException, WorkGroup other is not found"),
        ({"endpoint_url": "http://127.0.0.1:1"}, r"EndpointConnectionError|OperationalError"),
    ):
        warehouse = open_warehouse(AthenaHook(athena_extra(athena_place) | changed), "nowhere", None, staging)
        with pytest.raises(WarehouseError, match=said):
            warehouse.prepare()


def test_bucket_of_the_staging_folder_that_is_not_there(athena_place, athena):
    warehouse = open_warehouse(
        AthenaHook(athena_extra(athena_place)), "lost", None, staging_folder(athena_place["s3"], "no-such-bucket")
    )
    warehouse.prepare()
    with pytest.raises(WarehouseError, match=r"cannot lock with s3://no-such-bucket/.*NoSuchBucket"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_connection_without_a_schema_means_the_default_one(athena_place, athena):
    warehouse = open_warehouse(
        AthenaHook(athena_extra(athena_place)), "nowhere", None, staging_folder(athena_place["s3"], "x-y")
    )
    hook = warehouse.hook
    connect = hook.get_conn

    def without() -> object:
        connection = connect()
        connection.schema_name = None
        return connection

    hook.get_conn = without
    assert warehouse._connect().connection.schema_name == "default"


@pytest.mark.parametrize(
    ("given", "used"),
    [("awsdatacatalog", "AwsDataCatalog"), (None, "AwsDataCatalog"), ("other", "other")],
)
def test_catalog_of_glue_is_called_by_its_own_name(athena_place, athena, given, used):
    warehouse = open_warehouse(
        AthenaHook(athena_extra(athena_place) | {"catalog_name": given}),
        "nowhere",
        None,
        staging_folder(athena_place["s3"], "x-y"),
    )
    assert warehouse._connect().connection.catalog_name == used


def test_hook_of_airflow_is_used_as_it_is(athena_place, athena_warehouse):
    assert type(airflow_athena_hook(athena_place)) is type(athena_warehouse.hook)
