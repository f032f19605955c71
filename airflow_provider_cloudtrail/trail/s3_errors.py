"""What S3 says of an object or a bucket that cannot be read, in the words of boto3's errors and of obstore's."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import unescape

from airflow_provider_cloudtrail.trail.store import ListingDeniedError, ObjectError, StoreError, plain_etag

NO_BUCKET = "NoSuchBucket"
_DENIED = "AccessDenied"
# What S3 says of an object that must be restored before it can be read; its status is that of a denied one.
_ARCHIVED = "InvalidObjectState"
# Of one whose KMS key is disabled, is going to be deleted, or was; others of the bucket can have another key.
_WITHOUT_KEY = ("KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException")
# Of who asks, with the status of an object that is denied.
_ABOUT_WHO_ASKS = (
    *("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "TokenRefreshRequired"),
    "RequestTimeTooSkewed",
)
# Of malformed keys S3 says the same, without a Region.
_WRONG_REGION = re.compile(r"<Code>AuthorizationHeaderMalformed</Code>.*<Region>", re.DOTALL)
_ANSWER = re.compile(r"<Code>([^<]+)</Code>(?:\s*<Message>([^<]*)</Message>)?")
# Why obstore has no connection stands far behind what it says of that, which names the URL and no cause.
_NO_CONNECTION = re.compile(r'kind: Connect\b.*?(?:message|error): "([^"]+)"', re.DOTALL)


def missing(bucket: str, key: str, *, in_no_bucket: bool) -> ObjectError:
    """Return the error of an object that is not there."""
    what = f"there is no bucket {bucket}" if in_no_bucket else "the object is not there any more"
    return ObjectError("not_found", f"s3://{bucket}/{key}: {what}")


def refused(bucket: str, key: str, code: str, said: str, *, is_denied: bool) -> ObjectError | StoreError:
    """
    Return the error of an object that is not given out; of the store, if that is no fault of the object.

    :param code: what S3 calls it, "" if it does not say.
    :param said: what is known of it.
    :param is_denied: whether the status is that of a denied one.
    """
    uri = f"s3://{bucket}/{key}"
    if code == _ARCHIVED:
        return ObjectError(
            "archived",
            f"{uri}: the object lies in an archive storage class (such as Glacier) and has to be restored before it "
            "can be read",
        )
    if code in _WITHOUT_KEY:
        return ObjectError("access_denied", f"{uri}: {said}; the KMS key that it is encrypted with has to be enabled")
    if is_denied and code not in _ABOUT_WHO_ASKS:
        return ObjectError(
            "access_denied",
            f"{uri}: AccessDenied; the role needs s3:GetObject on it and, for SSE-KMS, kms:Decrypt on its key",
        )
    return StoreError(f"{uri}: {said}")


def etag_of(etag: str | None, bucket: str, key: str) -> str:
    """
    Return the ETag of an answer without its quotes.

    :raises StoreError: if it has none, as every object of S3 has: its bytes would be taken for those of the object.
    """
    if not etag:
        raise StoreError(
            f"s3://{bucket}/{key}: the answer is no object of S3; look what stands between the worker and S3 (a proxy, "
            "the endpoint_url of the connection)"
        )
    return plain_etag(etag)


def unlisted(bucket: str, prefix: str, code: str, said: str) -> StoreError:
    """
    Return the error of a folder that cannot be listed.

    :param code: what S3 calls it.
    :param said: what is known of it.
    """
    what = f"listing s3://{bucket}/{prefix}: {said}"
    if code == _DENIED:
        return ListingDeniedError(f"{what}; the role needs s3:ListBucket on the bucket")
    if code == NO_BUCKET:
        what += "; check the name of the bucket, which stands in the settings of the trail"
    return StoreError(what)


def disordered(bucket: str, prefix: str, key: str, before: str) -> StoreError:
    """Return the error of a listing that goes back: who reads a window would lose what comes behind its end."""
    return StoreError(
        f"listing s3://{bucket}/{prefix}: {key} was listed behind {before}, and S3 lists in the order of the keys; "
        "look what stands between the worker and S3 (a proxy, the endpoint_url of the connection)"
    )


def answer_in(error: BaseException) -> tuple[str, str]:
    """Return code and message of S3's answer in the text of an error, or "" and what is known where there is none."""
    if (found := _ANSWER.search(str(error))) is not None:
        return found[1], f"{found[1]}: {unescape(found[2] or '')}".rstrip(": ")
    unconnected = _NO_CONNECTION.search(str(error))
    return "", f"no connection to S3: {unconnected[1]}" if unconnected else first_line(error)


def is_of_other_region(error: BaseException) -> bool:
    """Tell whether S3's answer in the text of an error names the Region that boto3 then asks."""
    return _WRONG_REGION.search(str(error)) is not None


def describe(error: Any) -> str:
    """Return code and message of a ``ClientError``."""
    details = error.response.get("Error", {})
    return f"{details.get('Code', 'error')}: {details.get('Message', '')}".rstrip(": ")


def unanswered(error: Exception) -> str:
    """Return what a boto3 client says that had no answer, and what to do where it does not trust the certificate."""
    from botocore.exceptions import SSLError

    if not isinstance(error, SSLError):
        return first_line(error)
    # It names the URL before the cause, which can be long.
    said = f"no connection to S3: {error.kwargs['error']}"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; if a proxy stands between, name its CA bundle with AWS_CA_BUNDLE or verify"
    return said


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, which can be a whole answer; two, if the first one announces it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])[:300]


def is_page(error: Any) -> bool:
    """
    Tell whether a ``ClientError`` is no refusal of AWS, but a page with the status of one, as of a gateway.

    Of what is no JSON botocore makes the message, and its status the code; AWS gives its refusals a name.
    """
    details = error.response.get("Error", {})
    return str(details.get("Code", "")).isdecimal() and "<" in str(details.get("Message", ""))


def no_answer(error: BaseException) -> str:
    """Return what is to be said where a client could not make out an answer, as of a proxy's page."""
    return (
        f"what was answered is no answer of AWS ({type(error).__name__}: {first_line(error)}); look what stands "
        "between the worker and AWS (a proxy, the endpoint_url of the connection)"
    )
