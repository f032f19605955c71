"""What a deployment would do: the difference between what an environment holds and what it shall hold."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail.mwaa.bucket import Bucket, Stored
from airflow_provider_cloudtrail.mwaa.bundle import COPY, IN_THE_TRIGGERER, PACKAGE, WHEEL, Bundle
from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError, MwaaUsageError
from airflow_provider_cloudtrail.mwaa.manifest import Manifest, Written
from airflow_provider_cloudtrail.mwaa.pinned import PinnedFile, plan_plugins, plan_requirements, plugins_key
from airflow_provider_cloudtrail.settings import OPTIONS, check

ADD, CHANGE, REMOVE, KEEP, CONFLICT = "add", "change", "remove", "keep", "conflict"


@dataclass(frozen=True)
class ObjectChange:
    """
    What becomes of an object in the DAG folder.

    :param action: :data:`ADD`, :data:`CHANGE`, :data:`REMOVE`, :data:`KEEP` or :data:`CONFLICT` (somebody else's).
    :param content: what it shall hold; None: it shall not be there.
    :param seen: what is there.
    """

    action: str
    key: str
    content: bytes | None
    seen: Stored | None


@dataclass(frozen=True)
class Choices:
    """
    What whoever deploys has decided.

    :param options: options of the ``[cloudtrail]`` section to set in the environment.
    :param take_over: overwrite objects of somebody else at keys of this package.
    :param use_newest: bring newer versions of requirements.txt and plugins.zip into effect.
    """

    options: Mapping[str, str]
    take_over: bool = False
    use_newest: bool = False


@dataclass(frozen=True)
class Plan:
    """What a deployment would do."""

    bundle: Bundle
    objects: tuple[ObjectChange, ...]
    files: tuple[PinnedFile, ...]
    options: dict[str, str]
    warnings: tuple[str, ...]
    record_changes: bool

    @property
    def object_changes(self) -> tuple[ObjectChange, ...]:
        """What is added, changed or removed in the DAG folder."""
        return tuple(change for change in self.objects if change.action in (ADD, CHANGE, REMOVE))

    @property
    def update_reasons(self) -> tuple[str, ...]:
        """Why the environment has to be updated; nothing if it need not be."""
        reasons = [file.kind for file in self.files if file.needs_update]
        return tuple(reasons + [f"option cloudtrail.{name}" for name in self.options])

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.object_changes or self.update_reasons or self.record_changes)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """What is somebody else's and in the way."""
        objects = [change.key for change in self.objects if change.action == CONFLICT]
        return tuple(objects + [f"{name} in {file.key}" for file in self.files for name in file.conflicts])

    def conflict_message(self) -> str:
        """Say what is in the way, and what to do."""
        named = f"{', '.join(self.conflicts[:10])}{' ...' if len(self.conflicts) > 10 else ''}"
        return (
            f"{len(self.conflicts)} objects are not of this package, or were changed by somebody else: {named}. "
            "Nothing was changed: move them away, or overwrite them with --take-over"
        )

    def require_no_conflicts(self) -> None:
        """
        Go on only if nothing of somebody else is in the way.

        :raises MwaaStateError: if something is.
        """
        if self.conflicts:
            raise MwaaStateError(self.conflict_message())


def make_plan(bucket: Bucket, environment: Environment, manifest: Manifest, bundle: Bundle, choices: Choices) -> Plan:
    """
    Compare; only reads.

    :raises MwaaStateError: if the environment's files are not in a state to merge into.
    :raises MwaaUsageError: if there is no such option, or it cannot have such a value.
    """
    _require_one_mode(environment, manifest, bundle)
    objects, warnings = _objects(bucket, environment, manifest, bundle, choices)
    files = (
        plan_plugins(bucket, environment, bundle, manifest, choices.use_newest, choices.take_over),
        plan_requirements(bucket, environment, bundle, manifest, choices.use_newest),
    )
    plan = Plan(
        bundle=bundle,
        objects=objects,
        files=tuple(file for file in files if file is not None),
        options=_options(environment, choices.options),
        warnings=(*warnings, *_warnings(environment, bundle, choices)),
        record_changes=False,
    )
    kept = {change.key: written(change) for change in objects if change.action == KEEP}
    same = manifest.pending is None and deployed(manifest, environment, plan, manifest.objects | kept) == manifest
    return replace(plan, record_changes=not same)


def deployed(manifest: Manifest, environment: Environment, plan: Plan, objects: Mapping[str, Written]) -> Manifest:
    """Return the manifest as it is after a plan was carried out; it is not stored."""
    bundle = plan.bundle
    entries = {**manifest.entries, plugins_key(environment): tuple(sorted(bundle.entries))}
    keys = {environment.under_dags(name) for name in bundle.objects}
    return replace(
        manifest,
        version=__version__,
        environments={**manifest.environments, environment.name: bundle.mode},
        objects={key: objects[key] for key in sorted(keys) if key in objects},
        entries={key: names for key, names in entries.items() if names},
        dags=bundle.dag_ids,
        pending=None,
    )


def written(change: ObjectChange, stored: Stored | None = None) -> Written:
    """Return the record of an object that was written or is as it shall be."""
    now = stored or change.seen
    if now is None or change.content is None:
        raise ValueError(f"{change.key} is not there")
    return Written(_sha256(change.content), now.etag, now.version)


def _objects(
    bucket: Bucket, environment: Environment, manifest: Manifest, bundle: Bundle, choices: Choices
) -> tuple[tuple[ObjectChange, ...], list[str]]:
    ours = _Ours(bucket, manifest, environment.under_dags(f"{PACKAGE}/"))
    wanted = {environment.under_dags(name): content for name, content in bundle.objects.items()}
    changes = [ours.compare(key, content, choices.take_over) for key, content in wanted.items()]
    warnings = []
    pending = manifest.pending.objects if manifest.pending else ()
    for key in sorted({*manifest.objects, *pending} - wanted.keys()):
        seen, sha256 = ours.look(key)
        if seen is not None and sha256 is not None:
            changes.append(ObjectChange(REMOVE, key, None, seen))
        elif seen is not None:
            warnings.append(f"{key} was changed by somebody else since it was deployed, and stays")
    if left := ours.others({*wanted, *manifest.objects, *pending}):
        warnings.append(
            f"{len(left)} objects of no deployment lie in {environment.under_dags(PACKAGE)}/ and stay: "
            f"{', '.join(left[:3])}{' ...' if len(left) > 3 else ''}. Remove what an earlier copy by hand has left"
        )
    return tuple(changes), warnings


class _Ours:
    """Tells objects of this package from those of others."""

    def __init__(self, bucket: Bucket, manifest: Manifest, folder: str) -> None:
        self._bucket = bucket
        self._manifest = manifest
        self._pending = set(manifest.pending.objects) if manifest.pending else set()
        self._folder = folder
        self._listed = bucket.list(folder)

    def compare(self, key: str, content: bytes, take_over: bool) -> ObjectChange:
        """Return what becomes of an object that shall have this content."""
        seen, sha256 = self.look(key)
        wanted = _sha256(content)
        if seen is None:
            return ObjectChange(ADD, key, content, None)
        if sha256 is None and _sha256(self._content(key)) != wanted:
            return ObjectChange(CHANGE if take_over else CONFLICT, key, content, seen)
        if sha256 in (wanted, None):
            return ObjectChange(KEEP, key, content, seen)
        return ObjectChange(CHANGE, key, content, seen)

    def look(self, key: str) -> tuple[Stored | None, str | None]:
        """Return what is at a key, and the SHA-256 of its content if this package wrote it."""
        seen = self._listed.get(key)
        known = self._manifest.objects.get(key)
        if not key.startswith(self._folder) or (seen is not None and (known is None or seen.etag != known.etag)):
            # The listing is of the package's folder, and tells neither version nor metadata.
            seen = self._bucket.head(key)
        if seen is None:
            return None, None
        if known is not None and seen.etag == known.etag:
            return Stored(seen.etag, known.version, known.sha256), known.sha256
        return seen, seen.sha256 if key in self._pending else None

    def others(self, known: Collection[str]) -> list[str]:
        """Return the keys in the package's folder that are none of these, sorted."""
        return sorted(key for key in self._listed if key not in known)

    def _content(self, key: str) -> bytes:
        found = self._bucket.get(key)
        return found[0] if found else b""


def _require_one_mode(environment: Environment, manifest: Manifest, bundle: Bundle) -> None:
    for name, mode in manifest.environments.items():
        if name != environment.name and mode != bundle.mode and COPY in (mode, bundle.mode):
            raise MwaaStateError(
                f"environment {name} shares this DAG folder and is deployed in mode {mode}, so {environment.name} "
                f"cannot be deployed in mode {bundle.mode}; nothing was changed: use mode {mode}, or two folders"
            )


def _options(environment: Environment, wanted: Mapping[str, str]) -> dict[str, str]:
    if unknown := [name for name in wanted if name not in OPTIONS]:
        raise MwaaUsageError(f"there is no option {unknown[0]!r} in [cloudtrail]; there is {', '.join(OPTIONS)}")
    for name, value in wanted.items():
        try:
            check(name, value)
        except ValueError as error:
            raise MwaaUsageError(f"--set {name}={value}: {error}") from None
    return {name: value for name, value in wanted.items() if environment.option(name) != value}


def _warnings(environment: Environment, bundle: Bundle, choices: Choices) -> list[str]:
    found = []
    if not any(choices.options.get(name) or environment.option(name) for name in ("bucket", "trail_name")):
        found.append(
            "the environment has neither cloudtrail.bucket nor cloudtrail.trail_name among its Airflow configuration "
            "options, so the DAGs do not know the trail: --set bucket=NAME"
        )
    if bundle.mode == COPY and not environment.airflow_version.startswith("2."):
        found.append(
            "in mode copy on Airflow 3, deferrable sensors fall back to reschedule, and "
            f"{', '.join(IN_THE_TRIGGERER)} is left out; modes plugins and wheel have both"
        )
    if bundle.mode == WHEEL and "--no-index" not in bundle.requirements:
        found.append("the environment needs a route to a package index; in a private network use --no-index --wheels")
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
