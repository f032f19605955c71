"""What a deployment raises; each kind has an exit code that a pipeline can act upon. Nothing of Airflow is needed."""

from __future__ import annotations


class MwaaError(Exception):
    """Base of the errors of a deployment: AWS refused, or something could not be read."""

    exit_code = 1


class MwaaUsageError(MwaaError):
    """Raised when what was asked for cannot be meant: a missing file, options that exclude each other."""

    exit_code = 2


class MwaaStateError(MwaaError):
    """
    Raised when environment, bucket or foreign objects are not in a state to deploy to; nothing of theirs was changed.

    Nothing at all was, unless somebody else wrote while the deployment did: then the next one goes on from there.
    """

    exit_code = 4


class MwaaUpdateError(MwaaError):
    """Raised when MWAA could not update the environment; the own objects are as they were before."""

    exit_code = 5


class MwaaTimeoutError(MwaaError):
    """Raised when an update takes longer than was to be waited; it goes on, and another deploy waits for it."""

    exit_code = 7
