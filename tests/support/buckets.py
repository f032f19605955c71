"""Keys that are hard to list in the right order, and a folder that holds them."""

from __future__ import annotations

import random

from airflow_provider_cloudtrail.trail.local_store import LocalStore
from tests.support.log_files import FolderTrail

KEYS = [
    "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/a.json.gz",
    "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/b.json.gz",
    "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03.txt",
    "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03-x/a.json.gz",
    "AWSLogs/1/CloudTrail/eu-west-1/2026/02/030/a.json.gz",
    "AWSLogs/1/CloudTrail-Insight/eu-west-1/2026/02/03/a.json.gz",
    "AWSLogs/1/CloudTrail-Digest/eu-west-1/2026/02/03/a.json.gz",
    "AWSLogs/1/CloudTrail0/eu-west-1/x",
    "AWSLogs/1/CloudTrail/us-east-1/2026/02/03/a.json.gz",
    "AWSLogs/10/CloudTrail/eu-west-1/2026/02/03/a.json.gz",
    "AWSLogs/o-abc/1/CloudTrail/eu-west-1/2026/02/03/a.json.gz",
    "other/AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/a.json.gz",
    "notes.txt",
]


def folder_of_keys(trail: FolderTrail) -> LocalStore:
    """Return a folder with a file for each of the keys, whose content is its key."""
    for key in random.Random(3).sample(KEYS, len(KEYS)):
        path = trail.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return trail.store
