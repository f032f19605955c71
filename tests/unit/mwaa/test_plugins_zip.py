"""Merging into somebody else's plugins.zip: every other entry stays as it is."""

from __future__ import annotations

import io
import zipfile

import pytest

from airflow_provider_cloudtrail.mwaa import plugins_zip
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError

OWN = {"airflow_provider_cloudtrail/__init__.py": b"one", "airflow_provider_cloudtrail/.airflowignore": b"two"}


def customers_zip() -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.comment = b"built by our pipeline"
        archive.writestr(zipfile.ZipInfo("hooks/", (2024, 5, 6, 7, 8, 10)), b"")
        script = zipfile.ZipInfo("hooks/run.sh", (2024, 5, 6, 7, 8, 10))
        script.external_attr = 0o100755 << 16
        archive.writestr(script, b"#!/bin/sh\n" * 99, zipfile.ZIP_DEFLATED)
        stored = zipfile.ZipInfo("our_plugin.py", (1999, 1, 2, 3, 4, 6))
        archive.writestr(stored, b"import airflow\n", zipfile.ZIP_STORED)
        archive.writestr("data.bz2", b"abc" * 50, zipfile.ZIP_BZIP2)
    return output.getvalue()


def entries(content: bytes) -> list[tuple]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return [
            (i.filename, i.date_time, i.external_attr, i.compress_type, i.CRC, archive.read(i))
            for i in archive.infolist()
        ]


def test_other_entries_stay_as_they_are():
    customers = customers_zip()
    once = plugins_zip.merged(customers, OWN, ())
    assert entries(once)[:4] == entries(customers)
    assert {name: content for name, *_, content in entries(once)[4:]} == OWN
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        assert archive.comment == b"built by our pipeline"
    changed = plugins_zip.merged(once, {"airflow_provider_cloudtrail/new.py": b"three"}, OWN)
    assert entries(changed)[:4] == entries(customers)
    assert [name for name, *_ in entries(changed)[4:]] == ["airflow_provider_cloudtrail/new.py"]
    assert entries(plugins_zip.merged(once, {}, OWN)) == entries(customers)


def test_nothing_is_written_for_nothing():
    once = plugins_zip.merged(customers_zip(), OWN, ())
    assert plugins_zip.merged(once, OWN, OWN) is once
    assert plugins_zip.merged(None, OWN, ()) == plugins_zip.merged(None, dict(reversed(OWN.items())), ())


def test_an_empty_zip_is_never_left_behind():
    """MWAA unpacks with a program that fails for an empty file."""
    assert [name for name, *_ in entries(plugins_zip.merged(plugins_zip.merged(None, OWN, ()), {}, OWN))] == [
        *plugins_zip.EMPTY
    ]
    again = plugins_zip.merged(plugins_zip.merged(None, {}, ()), OWN, ())
    assert {name for name, *_ in entries(again)} == set(OWN)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"], ids=["empty", "text", "cut off"])
def test_what_is_no_zip_file(content):
    with pytest.raises(MwaaStateError, match="nothing was changed"):
        plugins_zip.merged(content, OWN, ())


def test_damaged_entry():
    customers = customers_zip().replace(b"import airflow\n", b"import_airflow\n")
    with pytest.raises(MwaaStateError, match=r"our_plugin\.py.*nothing was changed"):
        plugins_zip.merged(customers, OWN, ())
