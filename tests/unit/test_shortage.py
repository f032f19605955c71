from __future__ import annotations

import errno
import os

import pytest

from airflow_provider_cloudtrail.shortage import shortage
from airflow_provider_cloudtrail.warehouse.driver_errors import describe


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        pytest.param(MemoryError(), "out of memory", id="memory"),
        pytest.param(of_system(errno.ENOMEM), "out of memory", id="memory of the system"),
        pytest.param(RuntimeError("can't start new thread"), "no more threads", id="threads"),
        pytest.param(of_system(errno.EMFILE), "too many files open", id="files"),
        pytest.param(of_system(errno.ENOSPC), "disk of the worker is full", id="room"),
    ],
)
def test_what_a_machine_lacks_is_said(error: Exception, lacking: str) -> None:
    found = shortage(error)
    assert found is not None
    assert lacking in found
    assert found.endswith("Then run this again, it goes on from what is stored")
    assert describe(error).endswith(found)


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError(), of_system(errno.ENOENT), OSError("no number")])
def test_other_errors_tell_of_no_shortage(error: Exception) -> None:
    assert shortage(error) is None
