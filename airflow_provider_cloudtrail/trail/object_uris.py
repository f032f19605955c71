"""URIs of objects, in a bucket of S3 or in a folder that holds a copy of one."""

from __future__ import annotations

from urllib.parse import unquote

ALIAS_SUFFIX = "-s3alias"
"""What the alias of an access point ends with, and no name of a bucket."""


class KeyGrammarError(ValueError):
    """Raised when a URI or key is not what CloudTrail writes; the message says what was expected."""


def object_uri(bucket: str, key: str) -> str:
    """Return the URI of an object: ``s3://bucket/key``, or below the folder if ``bucket`` is a ``file://`` URI."""
    return f"{bucket.rstrip('/')}/{key}" if bucket.startswith("file://") else f"s3://{bucket}/{key}"


def is_own_name(bucket: str) -> bool:
    """Tell whether a bucket is called as it calls itself; a copy in a folder and an access point have other names."""
    return not bucket.startswith("file://") and not bucket.endswith(ALIAS_SUFFIX)


def split_uri(uri: str) -> tuple[str, str]:
    """
    Split a URI into bucket and key.

    For ``file://`` the bucket is the folder above ``AWSLogs/`` and its prefix is unknown, so the key
    starts with ``AWSLogs/``.

    :raises KeyGrammarError: if it is neither an ``s3://`` nor a ``file://`` URI of an object.
    """
    if uri.startswith("file://"):
        folder, found, rest = uri.partition("/AWSLogs/")
        if found:
            return folder, f"AWSLogs/{rest}"
    # By hand: a key may contain '?' and '#', and urlsplit() has errors of its own for brackets.
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    if scheme.lower() == "s3" and bucket and key:
        return bucket, key
    raise KeyGrammarError(f"{uri!r} is not the URI of an object; expected s3://bucket/key")


def local_folder(bucket: str) -> str:
    """Return the path of the folder that a ``file://`` URI names."""
    return unquote("/" + bucket.removeprefix("file://").partition("/")[2])
