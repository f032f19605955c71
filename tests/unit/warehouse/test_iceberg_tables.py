from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import files_read
from tests.support.log_files import foreign
from tests.support.rows import MWAA, file_rows

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")


def test_the_ledger_is_asked_for_the_months_of_the_files_only(
    iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file_rows(f"2026{month:02}03T1000Z", foreign(), selection=MWAA) for month in range(1, 7)]
    for file in files:
        iceberg.write([file])
    read = files_read(monkeypatch)
    uris = [file.entry.log_file_uri for file in files]
    assert iceberg.known_files(uris[2:4]).keys() == set(uris[2:4])
    assert len(read) == 2
    # Of what is no log file nothing is known but its name.
    assert iceberg.known_files([*uris, "s3://example-trail/unknown"]).keys() == set(uris)
