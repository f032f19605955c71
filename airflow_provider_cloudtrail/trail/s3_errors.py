"""What S3 says of an object or a bucket that cannot be read, in the words of boto3's errors and of obstore's."""

from __future__ import annotations

from typing import Any

from airflow_provider_cloudtrail.trail.store import ObjectError

# What S3 says of an object that must be restored before it can be read; its status is that of a denied one.
ARCHIVED = "InvalidObjectState"
NO_BUCKET = "NoSuchBucket"


def missing(bucket: str, key: str, *, in_no_bucket: bool) -> ObjectError:
    """Return the error of an object that is not there."""
    what = f"there is no bucket {bucket}" if in_no_bucket else "the object is not there any more"
    return ObjectError("not_found", f"s3://{bucket}/{key}: {what}")


def archived(bucket: str, key: str) -> ObjectError:
    """Return the error of an object that has to be restored first."""
    return ObjectError(
        "archived",
        f"s3://{bucket}/{key}: the object lies in an archive storage class (such as Glacier) and has to be "
        "restored before it can be read",
    )


def denied(bucket: str, key: str) -> ObjectError:
    """Return the error of an object that the role must not read."""
    return ObjectError(
        "access_denied",
        f"s3://{bucket}/{key}: AccessDenied; the role needs s3:GetObject on it and, for SSE-KMS, "
        "kms:Decrypt on its key",
    )


def is_about_credentials(text: str) -> bool:
    """Tell whether an answer with the status of a denied one is about who asks, not about the object."""
    return any(
        code in text
        for code in ("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "TokenRefresh")
    )


def describe(error: Any) -> str:
    """Return code and message of a ``ClientError``."""
    details = error.response.get("Error", {})
    return f"{details.get('Code', 'error')}: {details.get('Message', '')}".rstrip(": ")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, which can be a whole answer."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
