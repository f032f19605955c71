"""Tables that somebody has set to be what pyiceberg does not write: the task fails, and says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import ICEBERG, installed
from tests.support.iceberg_tasks import table_of
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

_WRITES_ONE_FORMAT = pytest.mark.skipif(
    not (ICEBERG and installed("pyiceberg.io.fileformat")), reason="writes Parquet, whatever the table says"
)


@pytest.mark.parametrize("suffix", ["", "_files"])
@pytest.mark.parametrize(
    ("properties", "said"),
    [
        pytest.param(
            {"write.format.default": "orc"},
            r"No writer registered for FileFormat.ORC.*\. Let write.format.default of the tables be parquet",
            id="ORC",
            marks=_WRITES_ONE_FORMAT,
        ),
        pytest.param(
            # As Java takes it.
            {"write.parquet.compression-codec": "UNCOMPRESSED"},
            r"Unsupported compression: UNCOMPRESSED\. Let write.parquet.compression-codec of the tables be zstd",
            id="codec in capitals",
        ),
        pytest.param(
            {"write.parquet.compression-codec": "lzo"},
            r"LZO compression is .*\. Let write.parquet.compression-codec of the tables be zstd",
            id="codec that Arrow lacks",
        ),
        pytest.param(
            {"write.metadata.metrics.default": "all"},
            r"Unsupported metrics mode: all\. Let write.metadata.metrics",
            id="metrics",
        ),
    ],
)
def test_properties_that_pyiceberg_cannot_follow_are_told(
    iceberg: Warehouse, suffix: str, properties: dict[str, str], said: str
) -> None:
    with table_of(iceberg, f"{iceberg.events}{suffix}").transaction() as change:
        change.set_properties(properties)
    with pytest.raises(WarehouseError, match=rf"iceberg, writing .*{said}"):
        iceberg.write([file_rows("20260203T1000Z", event("a"))])


def test_level_that_a_codec_does_not_have_is_told(iceberg: Warehouse) -> None:
    """Of the ledger, which pyiceberg writes."""
    with table_of(iceberg, iceberg.files).transaction() as change:
        change.set_properties({"write.parquet.compression-codec": "snappy", "write.parquet.compression-level": "9"})
    with pytest.raises(WarehouseError, match=r"Codec 'snappy' .*\. Let .* drop write.parquet.compression-level"):
        iceberg.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.parametrize("suffix", ["", "_files"])
def test_table_of_a_version_that_pyiceberg_does_not_write_is_told(iceberg: Warehouse, suffix: str) -> None:
    iceberg.write([file_rows("20260203T0900Z", event("before"))])
    metadata = Path(table_of(iceberg, f"{iceberg.events}{suffix}").metadata_location.removeprefix("file://"))
    # As Spark upgrades it.
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "format-version": 3, "next-row-id": 1}))
    with pytest.raises(WarehouseError, match=r"Cannot write manifest .*version: 3\. One of .* newer one, or"):
        iceberg.write([file_rows("20260203T1000Z", event("a"))])
    assert "before" in read_table(iceberg).event_ids
