"""What this provider raises at run time. Wrong parameters raise ``ValueError`` before any work is done."""

from __future__ import annotations

from airflow_provider_cloudtrail._compat import AirflowException, AirflowFailException


class CloudTrailError(AirflowException):
    """Base of the errors of this provider."""


class CloudTrailTrailNotFoundError(CloudTrailError):
    """Raised when a trail, or any folder of log files, is not where it was looked for."""


class CloudTrailBucketError(CloudTrailError):
    """Raised when a trail bucket does not answer or refuses to be read; what was read before is stored."""


class CloudTrailLogFileError(CloudTrailError):
    """Raised when one log file cannot be read; the message names bucket, key and cause."""


class CloudTrailWarehouseError(CloudTrailError):
    """Raised when the warehouse cannot be reached or refuses; the batches before it are stored."""


class CloudTrailQueueError(CloudTrailError):
    """Raised when a queue refuses, or cannot be read from here because of what is installed."""


class CloudTrailTriggerError(CloudTrailError):
    """Raised when a deferred sensor cannot wait in the triggerer; the message says what the triggerer lacks."""


class CloudTrailQuarantineError(CloudTrailError, AirflowFailException):
    """
    Raised after everything good is stored, because something of the window is in quarantine.

    The task fails at once, without its retries: what is damaged stays so.
    """


class CloudTrailCoverageError(CloudTrailError, AirflowFailException):
    """
    Raised because a trail is not fit for an audit; the message names each finding and its fix.

    The task fails at once, without its retries: somebody has to change the trail.
    """


class CloudTrailIntegrityError(CloudTrailError, AirflowFailException):
    """
    Raised after everything is recorded, because the digests do not prove the window.

    The task fails at once, without its retries: what was altered or deleted stays so.
    """


class CloudTrailDigestsPendingError(CloudTrailError):
    """Raised when nothing is wrong with the digests of a window, but the last of them may still be delivered."""


class CloudTrailEventHistoryError(CloudTrailError):
    """Raised when Event history cannot be read; what was read before is stored, and the next run goes on there."""
