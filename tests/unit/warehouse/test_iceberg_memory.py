from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.engines import ICEBERG, REPOSITORY

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

_OPENS_A_CATALOG = """
import json, os
{before}
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.iceberg import OldIcebergHook, catalog
address = json.dumps(dict(type="sql", uri="sqlite:///{folder}/catalog", warehouse="file://{folder}"))
catalog(address)
warehouse = open_warehouse(OldIcebergHook(address), "audit")
warehouse.prepare()
import pyarrow
print(pyarrow.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
"""


@pytest.mark.parametrize(
    ("before", "chosen", "pool"),
    [
        pytest.param("", None, "system", id="nobody has chosen"),
        pytest.param("", "mimalloc", "mimalloc", id="the user has chosen"),
        pytest.param("import pyarrow", None, None, id="Arrow was there before"),
    ],
)
def test_arrow_takes_its_memory_from_the_system(tmp_path, before, chosen, pool):
    def pool_of(program: str) -> list[str]:
        environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
        environment |= {"ARROW_DEFAULT_MEMORY_POOL": chosen} if chosen else {}
        command = [sys.executable, "-c", program]
        said = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        return said.stdout.splitlines()[-1].split()

    if pool is None:
        (pool,) = pool_of("import pyarrow; print(pyarrow.default_memory_pool().backend_name)")
    assert pool_of(_OPENS_A_CATALOG.format(before=before, folder=tmp_path)) == [pool, str(chosen)]
