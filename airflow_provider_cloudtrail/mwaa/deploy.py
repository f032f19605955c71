"""
Carrying out a plan, so that a deployment which is interrupted anywhere is finished by the next one.

Before the first step the manifest says what will be written, so that the next deployment knows it as its own. What
imports the package is written after the package is there: in mode copy objects come first and the update of the
environment last, in the other modes the other way round. Nothing is removed before all else has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_provider_cloudtrail.mwaa.aws import Aws
from airflow_provider_cloudtrail.mwaa.bucket import Bucket, Stored
from airflow_provider_cloudtrail.mwaa.bundle import COPY
from airflow_provider_cloudtrail.mwaa.environment import CHANGING, Environment, Pinned, get_environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaTimeoutError, MwaaUpdateError
from airflow_provider_cloudtrail.mwaa.manifest import Manifest, Pending, Written, store
from airflow_provider_cloudtrail.mwaa.pinned import PLUGINS, PinnedFile
from airflow_provider_cloudtrail.mwaa.plan import ADD, CHANGE, KEEP, REMOVE, ObjectChange, Plan, deployed, written
from airflow_provider_cloudtrail.mwaa.update import Patience, update, wait


def own_update_is_running(environment: Environment, manifest: Manifest) -> bool:
    """Tell whether an environment is changing because of a deployment that was interrupted."""
    pending = manifest.pending
    return (
        environment.status in CHANGING
        and pending is not None
        and pending.updates
        and pending.environment == environment.name
    )


def await_own_update(aws: Aws, environment: Environment, patience: Patience) -> Environment:
    """
    Wait for the update that an interrupted deployment has asked for.

    :raises MwaaTimeoutError: if it takes too long.
    """
    patience.say("an update that an interrupted deployment asked for is running, waiting for it first")
    return wait(aws, environment, patience)


class Deployment:
    """
    One carrying out of a plan.

    :param manifest: as it was read for the plan.
    """

    def __init__(
        self, aws: Aws, bucket: Bucket, environment: Environment, manifest: Manifest, plan: Plan, patience: Patience
    ) -> None:
        self._aws = aws
        self._bucket = bucket
        self._environment = environment
        self._before = manifest
        self._manifest = manifest
        self._plan = plan
        self._patience = patience
        self._written: dict[str, Written] = {}
        self._taken_over = {
            change.key: change.seen.version for change in self._changes(CHANGE) if change.seen is not None
        }

    def run(self) -> None:
        """
        Do all that is planned.

        :raises MwaaStateError: if the environment cannot be deployed to, or something of somebody else is in the way.
        :raises MwaaUpdateError: if the update fails; what was written is as it was before.
        :raises MwaaTimeoutError: if the update takes too long; it goes on.
        :raises MwaaError: if AWS refuses a step; another deployment goes on from there.
        """
        self._plan.require_no_conflicts()
        if not self._plan.has_changes:
            return
        self._announce()
        steps: list[Callable[[], None]] = [self._write_objects, self._update]
        if self._plan.bundle.mode != COPY:
            steps.reverse()
        for step in steps:
            step()
        for change in self._changes(REMOVE):
            self._patience.say(f"removing {change.key}")
            self._bucket.delete(change.key)
        kept = {change.key: written(change) for change in self._changes(KEEP)}
        after = deployed(self._before, self._environment, self._plan, kept | self._written)
        self._manifest = store(self._bucket, self._environment, replace(after, stored=self._manifest.stored))

    def _changes(self, *actions: str) -> list[ObjectChange]:
        return [change for change in self._plan.objects if change.action in actions]

    def _announce(self) -> None:
        left = self._before.pending
        pending = Pending(
            environment=self._environment.name,
            objects=tuple(sorted({*(left.objects if left else ()), *(c.key for c in self._changes(ADD, CHANGE))})),
            entries=tuple(sorted({*(left.entries if left else ()), *self._plan.bundle.entries})),
            updates=bool(self._plan.update_reasons),
        )
        self._manifest = store(self._bucket, self._environment, replace(self._before, pending=pending))

    def _write_objects(self) -> None:
        for change in self._changes(ADD, CHANGE):
            if change.content is not None:
                self._patience.say(f"uploading {change.key}")
                stored = self._bucket.put(change.key, change.content, replaces=change.seen)
                self._written[change.key] = written(change, stored)

    def _update(self) -> None:
        if not self._plan.update_reasons:
            return
        files = {
            _member(file): Pinned(file.key, self._write_file(file).version)
            for file in self._plan.files
            if file.needs_update
        }
        self._patience.say(
            f"updating environment {self._environment.name} ({', '.join(self._plan.update_reasons)}): takes 20 to 30 "
            "minutes, running tasks finish first"
        )
        try:
            update(self._aws, self._environment, files, self._plan.options, self._patience)
        except MwaaUpdateError as error:
            raise self._rolled_back(error) from None

    def _write_file(self, file: PinnedFile) -> Stored:
        if file.content is None:
            if file.seen is None:
                raise MwaaError(f"{file.key} is not there")
            return file.seen
        self._patience.say(f"uploading {file.key}")
        return self._bucket.put(file.key, file.content, replaces=file.seen)

    # -- rolling back ------------------------------------------------------------------------------

    def _rolled_back(self, cause: MwaaUpdateError) -> MwaaUpdateError:
        """Write back what was there before; return the error that tells."""
        self._patience.say("the update failed, putting back what was there before")
        try:
            for file in self._plan.files:
                self._restore_file(file)
            objects = {key: self._restore_object(key) for key in self._announced()}
            restored = self._before.objects | {key: entry for key, entry in objects.items() if entry is not None}
            after = replace(self._before, objects=restored, pending=None, stored=self._manifest.stored)
            self._manifest = store(self._bucket, self._environment, after)
        except MwaaTimeoutError:
            raise
        except MwaaError as error:
            return MwaaUpdateError(f"{cause}. Putting back what was there before failed as well: {error}")
        return MwaaUpdateError(f"{cause}. What this deployment had written is as it was before")

    def _announced(self) -> tuple[str, ...]:
        return self._manifest.pending.objects if self._manifest.pending else ()

    def _restore_file(self, file: PinnedFile) -> None:
        now = self._bucket.get(file.key)
        if now is not None and now[1].sha256 is None:
            # Not written by this package: somebody else's, perhaps of this very moment.
            return
        if file.before is None:
            if now is not None:
                self._bucket.delete(file.key)
        elif now is None or now[0] != file.before:
            self._bucket.put(file.key, file.before, replaces=now[1] if now else None)

    def _restore_object(self, key: str) -> Written | None:
        """Write back what was at a key when the last deployment had ended; return its record, None if it had none."""
        before, now = self._before.objects.get(key), self._bucket.head(key)
        if now is not None and (now.sha256 is None or (before is not None and now.etag == before.etag)):
            return before
        version = before.version if before is not None else self._taken_over.get(key)
        if version is None:
            if now is not None:
                self._bucket.delete(key)
            return None
        content = self._bucket.get(key, version)
        if content is None:
            raise MwaaError(f"version {version} of {self._bucket.uri(key)} is gone")
        stored = self._bucket.put(key, content[0], replaces=now)
        return Written(before.sha256, stored.etag, stored.version) if before is not None else None


def _member(file: PinnedFile) -> str:
    """Return how the API calls a file."""
    return "Plugins" if file.kind == PLUGINS else "Requirements"


def current(aws: Aws, name: str) -> tuple[Environment, Bucket]:
    """Return an environment and its bucket, as they are now."""
    environment = get_environment(aws, name)
    return environment, Bucket(aws, environment)
