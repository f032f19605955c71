from __future__ import annotations

import asyncio

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.triggers import watching


@pytest.fixture
def impatient(monkeypatch):
    """Let polls follow each other at once."""
    sleep = asyncio.sleep
    monkeypatch.setattr(watching.asyncio, "sleep", lambda seconds: sleep(0.01))


@pytest.fixture
def polls(monkeypatch):
    """Count the polls."""
    asked = []
    list_log_files = CloudTrailHook.list_log_files

    def counted(self, location, window, account_ids, regions, **ahead):
        asked.append((window.floor, account_ids, regions))
        yield from list_log_files(self, location, window, account_ids, regions, **ahead)

    monkeypatch.setattr(CloudTrailHook, "list_log_files", counted)
    return asked
