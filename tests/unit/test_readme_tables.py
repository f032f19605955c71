"""The tables of the README name what the code has."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from airflow_provider_cloudtrail import exceptions
from airflow_provider_cloudtrail.settings import OPTIONS
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import REPOSITORY

README = REPOSITORY / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table whose heading begins with this cell."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n| {heading} |")
    lines = rest.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_every_error_has_its_way_out() -> None:
    told = [name for error, *_ in table("error") for name in named(error)]
    raised = [name for name, kind in vars(exceptions).items() if getattr(kind, "__module__", "") == exceptions.__name__]
    assert sorted(told) == sorted({*raised, "ValueError"} - {"CloudTrailError"})


def test_classes_are_in_their_modules() -> None:
    rows = table("class")
    assert len(rows) > 9
    for classes, module, _ in rows:
        found = importlib.import_module(f"airflow_provider_cloudtrail.{module.strip('`')}")
        assert all(callable(getattr(found, name)) for name in named(classes)), classes


def test_parameters_of_the_export_are_options_or_told() -> None:
    signature = inspect.signature(CloudTrailToSqlOperator)
    own = {name for name, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    told = [name for parameters, *_ in table("parameter") for name in named(parameters)]
    assert sorted(told) == sorted(own - set(OPTIONS))
