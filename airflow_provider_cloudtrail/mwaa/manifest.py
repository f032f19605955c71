"""
The record of what this package has put where: one object in the DAG folder, without which nothing is touched.

Written twice by a deployment: before its first step with what it is going to write (``pending``), and after its last
one. A deployment that was interrupted leaves the pending part behind, by which the next one knows what is its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from airflow_provider_cloudtrail.mwaa.bucket import Bucket, Stored
from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError

NAME = "airflow_provider_cloudtrail.manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Written:
    """
    An object that a deployment wrote.

    :param sha256: of its content.
    :param etag: as S3 answered.
    :param version: S3 version.
    """

    sha256: str
    etag: str
    version: str | None


@dataclass(frozen=True)
class Pending:
    """
    What a deployment that has not ended yet may have done.

    :param environment: which environment it is for.
    :param objects: keys that it writes.
    :param entries: names that it puts into plugins.zip.
    :param updates: whether it asks for an update of the environment.
    """

    environment: str
    objects: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    updates: bool = False


@dataclass(frozen=True)
class Manifest:
    """
    What was deployed.

    :param environments: mode by name of environment; environments may share a DAG folder.
    :param objects: by key, those in the DAG folder.
    :param entries: by key of a plugins.zip, names that this package put into it.
    :param dags: ids of the DAGs.
    """

    version: str = ""
    environments: dict[str, str] = field(default_factory=dict)
    objects: dict[str, Written] = field(default_factory=dict)
    entries: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dags: tuple[str, ...] = ()
    pending: Pending | None = None
    stored: Stored | None = field(default=None, compare=False)

    def owned_entries(self, key: str) -> set[str]:
        """Return the names in a plugins.zip that are of this package, also those of an interrupted deployment."""
        return {*self.entries.get(key, ()), *(self.pending.entries if self.pending else ())}


def load(bucket: Bucket, environment: Environment) -> Manifest:
    """
    Read the manifest; an empty one if nothing was deployed yet.

    :raises MwaaStateError: if it cannot be understood.
    """
    key = environment.under_dags(NAME)
    found = bucket.get(key)
    if found is None:
        return Manifest()
    content, stored = found
    try:
        return _read(json.loads(content), stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MwaaStateError(
            f"{bucket.uri(key)} is no manifest of this version of the package ({type(error).__name__}: {error}); "
            "deploy with the version that wrote it, or restore the object"
        ) from None


def store(bucket: Bucket, environment: Environment, manifest: Manifest) -> Manifest:
    """
    Write the manifest over the one that was read.

    :return: the manifest as it now is in the bucket.
    :raises MwaaStateError: if another deployment has written it meanwhile.
    """
    content = {name: value for name, value in asdict(manifest).items() if name != "stored"}
    text = json.dumps({"format": FORMAT, **content}, indent=1, sort_keys=True)
    stored = bucket.put(environment.under_dags(NAME), text.encode() + b"\n", replaces=manifest.stored)
    return replace(manifest, stored=stored)


def _read(content: dict[str, Any], stored: Stored) -> Manifest:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, not {FORMAT}")
    pending = content["pending"]
    return Manifest(
        version=content["version"],
        environments=dict(content["environments"]),
        objects={key: Written(**value) for key, value in content["objects"].items()},
        entries={key: tuple(names) for key, names in content["entries"].items()},
        dags=tuple(content["dags"]),
        pending=None
        if pending is None
        else Pending(pending["environment"], tuple(pending["objects"]), tuple(pending["entries"]), pending["updates"]),
        stored=stored,
    )
