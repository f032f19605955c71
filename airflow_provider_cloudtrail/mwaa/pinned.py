"""
requirements.txt and plugins.zip of an environment: what becomes of them when the part of this package is merged in.

The environment uses a version that an update pins. A version of somebody else behind it, which no update has asked
for yet, must not come into effect by the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_cloudtrail.mwaa import plugins_zip, requirements
from airflow_provider_cloudtrail.mwaa.bucket import Bucket, Stored
from airflow_provider_cloudtrail.mwaa.bundle import WHEEL, Bundle
from airflow_provider_cloudtrail.mwaa.environment import Environment, Pinned
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError
from airflow_provider_cloudtrail.mwaa.manifest import Manifest

REQUIREMENTS, PLUGINS = "requirements.txt", "plugins.zip"


class Difference(NamedTuple):
    """Lines or entries that a merge adds, changes or removes."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class PinnedFile:
    """
    One of the two files after a merge.

    :param kind: :data:`REQUIREMENTS` or :data:`PLUGINS`.
    :param configured: what the environment uses now; None: it has no such file.
    :param seen: newest version in the bucket; None: there is none.
    :param content: what has to be written; None: the newest version is as it must be.
    :param before: what the environment uses, for a roll-back; None: it has no such file.
    :param conflicts: entries of somebody else that bear names of this package.
    """

    kind: str
    key: str
    configured: Pinned | None
    seen: Stored | None
    content: bytes | None
    before: bytes | None
    difference: Difference
    conflicts: tuple[str, ...] = ()

    @property
    def needs_update(self) -> bool:
        """Whether the environment has to be updated to use it."""
        version = self.seen.version if self.seen else None
        return self.content is not None or self.configured != Pinned(self.key, version)


class _Kind(NamedTuple):
    """How one of the two files is read and merged."""

    name: str
    configured: Pinned | None
    wanted: bool
    has_own: Callable[[bytes], bool]
    foreign: Callable[[bytes], object]
    merge: Callable[[bytes | None], bytes]
    strip: Callable[[bytes], bytes]
    difference: Callable[[bytes | None, bytes], Difference]


def plugins_key(environment: Environment) -> str:
    """Return where the plugins.zip of an environment is, or would be."""
    return environment.plugins.key if environment.plugins else environment.beside_dags(PLUGINS)


def plan_requirements(
    bucket: Bucket, environment: Environment, bundle: Bundle, manifest: Manifest, use_newest: bool
) -> PinnedFile | None:
    """
    Return what becomes of requirements.txt, None if it does not concern this package.

    :param use_newest: bring versions of somebody else into effect that no update has asked for yet.
    :raises MwaaStateError: if there are such versions, or the file contradicts what is to be installed.
    """

    def difference(before: bytes | None, after: bytes) -> Difference:
        old, new = requirements.own_lines(before or b""), requirements.own_lines(after)
        return Difference(
            tuple(line for line in new if line not in old), (), tuple(line for line in old if line not in new)
        )

    kind = _Kind(
        name=REQUIREMENTS,
        configured=environment.requirements,
        wanted=bool(bundle.requirements),
        has_own=lambda content: bool(requirements.own_lines(content)),
        foreign=requirements.foreign_part,
        merge=lambda content: requirements.merged(content or b"", bundle.requirements),
        strip=lambda content: requirements.merged(content, ()),
        difference=difference,
    )
    return _plan(kind, bucket, environment, manifest, use_newest)


def plan_plugins(
    bucket: Bucket, environment: Environment, bundle: Bundle, manifest: Manifest, use_newest: bool, take_over: bool
) -> PinnedFile | None:
    """
    Return what becomes of plugins.zip, None if it does not concern this package.

    :param use_newest: bring versions of somebody else into effect that no update has asked for yet.
    :param take_over: replace entries of somebody else that bear names of this package.
    :raises MwaaStateError: if there are such versions, or the file cannot be read.
    """
    owned = manifest.owned_entries(plugins_key(environment))
    wanted = bundle.entries
    wanted_digests = plugins_zip.digests(plugins_zip.merged(None, wanted, ())) if wanted else {}
    conflicts: list[str] = []

    def foreign(content: bytes) -> dict[str, str]:
        left_out = {*owned, *wanted, *plugins_zip.EMPTY}
        return {name: digest for name, digest in plugins_zip.digests(content).items() if name not in left_out}

    def difference(before: bytes | None, after: bytes) -> Difference:
        old = plugins_zip.digests(before) if before is not None else {}
        new = plugins_zip.digests(after)
        conflicts.extend(
            name for name in sorted(wanted.keys() & old.keys() - owned) if old[name] != wanted_digests[name]
        )
        return Difference(
            tuple(sorted(new.keys() - old.keys())),
            tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
            tuple(sorted(old.keys() - new.keys())),
        )

    kind = _Kind(
        name=PLUGINS,
        configured=environment.plugins,
        wanted=bool(wanted),
        has_own=lambda content: bool(owned) and bool(owned & plugins_zip.digests(content).keys()),
        foreign=foreign,
        merge=lambda content: plugins_zip.merged(content, wanted, owned),
        strip=lambda content: plugins_zip.merged(content, {}, owned | wanted.keys()),
        difference=difference,
    )
    found = _plan(kind, bucket, environment, manifest, use_newest)
    if found is None or not conflicts or take_over:
        return found
    return PinnedFile(**{**vars(found), "conflicts": tuple(conflicts)})


def not_installed(bucket: Bucket, environment: Environment, manifest: Manifest) -> list[str]:
    """Return the files that an environment uses without the part of this package that was deployed."""
    found = []
    if manifest.environments.get(environment.name) == WHEEL:
        content = _in_use(bucket, environment.requirements)
        if content is None or not requirements.own_lines(content):
            found.append(REQUIREMENTS)
    if entries := manifest.entries.get(plugins_key(environment)):
        content = _in_use(bucket, environment.plugins)
        if content is None or not set(entries) <= plugins_zip.digests(content).keys():
            found.append(PLUGINS)
    return found


def _in_use(bucket: Bucket, pinned: Pinned | None) -> bytes | None:
    found = bucket.get(pinned.key, pinned.version) if pinned else None
    return found[0] if found else None


def _plan(
    kind: _Kind, bucket: Bucket, environment: Environment, manifest: Manifest, use_newest: bool
) -> PinnedFile | None:
    if kind.configured is None and not kind.wanted:
        return None
    key = kind.configured.key if kind.configured else environment.beside_dags(kind.name)
    newest = bucket.get(key)
    content, seen = newest or (None, None)
    used = _used(kind, bucket, key, content, seen)
    if not kind.wanted and not any(text is not None and kind.has_own(text) for text in (used, content)):
        return None
    if content is None:
        # Deleted, while the environment goes on with the version that it pins.
        content_before = used
    else:
        content_before = content
        if used is not None and not use_newest and kind.foreign(content) != kind.foreign(used):
            raise MwaaStateError(
                f"{bucket.uri(key)} has a newer version than the one that environment {environment.name} uses "
                f"({kind.configured.version if kind.configured else None}), and it differs in what is yours: update "
                "the environment to it first, or bring it into effect with this deployment by --use-newest"
            )
    if kind.configured is None and content is not None and not _is_empty(kind, content):
        raise MwaaStateError(
            f"{bucket.uri(key)} is there, but environment {environment.name} does not use it: delete it, or set it as "
            f"the environment's {kind.name}"
        )
    after = kind.merge(content_before)
    before = used if used is not None else content_before
    if kind.configured is None:
        before = None
    elif kind.configured.version is None and manifest.pending is not None:
        # Which version was in use before the interrupted deployment is not known: without this package, it worked.
        before = kind.strip(before or b"")
    return PinnedFile(
        kind=kind.name,
        key=key,
        configured=kind.configured,
        seen=seen,
        content=None if after == content else after,
        before=before,
        difference=kind.difference(used if kind.configured else None, after),
    )


def _is_empty(kind: _Kind, content: bytes) -> bool:
    """Tell whether nothing but this package's part is in a file."""
    return kind.foreign(content) in (b"", b"\n", {})


def _used(kind: _Kind, bucket: Bucket, key: str, content: bytes | None, seen: Stored | None) -> bytes | None:
    """Return what the environment uses of a file."""
    if kind.configured is None:
        return None
    version = kind.configured.version
    if version is None or (seen is not None and version == seen.version):
        return content
    found = bucket.get(key, version)
    if found is None:
        raise MwaaStateError(
            f"version {version} of {bucket.uri(key)}, which the environment uses, is gone; nothing was changed: update "
            "the environment to a version that exists"
        )
    return found[0]
