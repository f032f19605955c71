"""
What users write as parameters, after templating, to what the code works with.

Templates turn lists into text and what is missing into ``"None"``. Each function names the parameter in
its error and says what to write instead.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from typing import Any, overload

from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.object_uris import ALIAS_SUFFIX
from airflow_provider_cloudtrail.warehouse.base import check_identifier

REGION = r"[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}"
"""Pattern of the name of a Region."""
_ACCOUNT = re.compile(r"[0-9]{12}")
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")
# Those of several Regions and of Outposts have no such alias.
_ACCESS_POINT_ARN = re.compile(r"arn:[a-z-]+:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[/:]")
_ORGANIZATION = re.compile(r"o-[a-z0-9]+")
_QUEUE_URL = re.compile(r"https?://[^/\s]+/[^\s]+")
_LONGEST_IDENTIFIER = 127
LONGEST_DURATION = timedelta(days=36_525)
"""So long ago there was no trail; what is further away soon leaves the years that a ``datetime`` has."""
_BRACKETS = ("[", "(")

NOTHING = (None, "", "None")
"""What is missing, also behind a template."""
NO_TRAIL = (
    "neither bucket nor trail_name is set; give the S3 bucket that the trail delivers to (on MWAA with the example "
    "DAGs: the Airflow configuration option cloudtrail.bucket), or the name or ARN of the trail"
)
"""What is said where neither is given."""


def text(value: Any) -> str | None:
    """Return a text, or None for what a template makes of a missing value."""
    return None if value in NOTHING else str(value)


@overload
def identifier(parameter: str, value: Any) -> str: ...


@overload
def identifier(parameter: str, value: Any, *, required: bool) -> str | None: ...


def identifier(parameter: str, value: Any, *, required: bool = True) -> str | None:
    """
    Return the name of a table or a schema; None: not given.

    :param required: whether it has to be given.
    :raises ValueError: if it would have to be escaped in SQL, or is missing.
    """
    found = text(value)
    if found is not None:
        check_identifier(parameter, found, _LONGEST_IDENTIFIER)
    elif required:
        raise ValueError(f"{parameter} is not set; give a name")
    return found


def names(parameter: str, value: Any) -> list[str] | None:
    """
    Return a list of names, given as a list, as JSON or with commas between them; None: not given.

    :raises ValueError: for anything else, and for an empty list, which would select nothing.
    """
    items = _items(parameter, value)
    return None if items is None else _texts(parameter, items)


def uris(parameter: str, value: Any) -> list[str] | None:
    """
    Return a list of URIs, given as :func:`names` are, or as the lists of several tasks; None: not given.

    Mapped tasks give a list of lists, and a task that was skipped None. An empty list is that of an event that names
    nothing.

    :raises ValueError: for anything else.
    """
    if value in NOTHING:
        return None
    found = list(_in_lists(parameter, value))
    return _texts(parameter, found) if found else []


def _in_lists(parameter: str, value: Any) -> Iterator[Any]:
    for item in _items(parameter, value) or ():
        if isinstance(item, str) and not item.strip().startswith(_BRACKETS):
            yield item
        elif item is not None:
            yield from _in_lists(parameter, item)


def _texts(parameter: str, items: Iterable[Any]) -> list[str]:
    found = [text for item in items if (text := str(item).strip())]
    if not found:
        raise ValueError(f"{parameter} is empty, which selects nothing; leave it out to select everything")
    if "None" in found:
        # Where no other check follows it would select nothing, and be green.
        raise ValueError(f"{parameter} holds None, which templates make of what is missing; leave that out")
    return list(dict.fromkeys(found))


def _items(parameter: str, value: Any) -> list[Any] | None:
    if value in NOTHING:
        return None
    if isinstance(value, str):
        return _listed(parameter, value) if value.strip().startswith(_BRACKETS) else list(value.split(","))
    if isinstance(value, Iterable):
        return list(value)
    raise ValueError(f"{parameter}={value!r} is no list; write ['a', 'b'] or 'a,b'")


def _listed(parameter: str, value: str) -> list[Any]:
    """Return the list that a text is, as JSON or as Python writes it."""
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return list(parse(value.strip()))
    raise ValueError(f"{parameter}={value!r} is no list; write ['a', 'b'] or 'a,b'")


def account_ids(parameter: str, value: Any) -> list[str] | None:
    """
    Return a list of accounts; None: not given. A number is one, as templates that give native objects make it.

    :raises ValueError: as for :func:`names`, and for what is no id of an account.
    """
    found = names(parameter, [value] if isinstance(value, int) and not isinstance(value, bool) else value)
    if wrong := [name for name in found or () if not _ACCOUNT.fullmatch(name)]:
        raise ValueError(f"{parameter}: {', '.join(map(repr, wrong))} is no account; write 12 digits without hyphens")
    return found


def regions(parameter: str, value: Any) -> list[str] | None:
    """
    Return a list of Regions; None: not given.

    :raises ValueError: as for :func:`names`, and for what is no name of a Region.
    """
    found = names(parameter, value)
    if wrong := [name for name in found or () if not re.fullmatch(REGION, name)]:
        raise ValueError(f"{parameter}: {', '.join(map(repr, wrong))} is no Region; write names such as 'eu-west-1'")
    return found


def seconds(parameter: str, value: Any) -> float:
    """
    Return a duration that is given as a number of seconds.

    :raises ValueError: if it is no number, such as a ``timedelta``, or none that time can be reckoned with.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{parameter}={value!r} is no number of seconds; write one, such as 3600")
    # Not the other way round: what is compared with NaN is false.
    if not abs(value) <= LONGEST_DURATION.total_seconds():
        raise ValueError(f"{parameter}={value!r} is no number of seconds within 100 years; write one, such as 3600")
    return value


def whole_number(parameter: str, value: Any) -> int:
    """
    Return a whole number.

    :raises ValueError: for anything else, also for a text that holds one.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{parameter}={value!r} is no whole number; write one, such as 10, without quotes")
    return value


def switch(parameter: str, value: Any) -> bool:
    """
    Return what is on or off.

    :raises ValueError: for anything else: a text would be on whatever it says.
    """
    if value not in (True, False):
        raise ValueError(f"{parameter}={value!r} is neither True nor False; write one of them, without quotes")
    return bool(value)


def file_size(parameter: str, value: Any) -> int:
    """
    Return a size in bytes.

    :raises ValueError: if it is no whole number, or none above 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{parameter}={value!r} is no size; write a whole number of bytes above 0")
    return value


def verify(value: Any) -> bool | str | None:
    """Return whether to verify TLS certificates, or the path of a CA bundle; None: not given. All as text, too."""
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]
    return {"true": True, "false": False}.get(value.strip().lower(), text(value))


def botocore_config(parameter: str, value: Any) -> dict[str, Any] | None:
    """
    Return the configuration of botocore's clients, as arguments of its ``Config``; None: not given.

    :raises ValueError: for anything that botocore does not take. No value is shown: proxies may hold a password.
    """
    if value is None:
        return None
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    instead = "write a dictionary of what botocore.config.Config takes, such as {'read_timeout': 60}, or leave it out"
    if not isinstance(value, dict):
        raise ValueError(f"{parameter} is no dictionary but of type {type(value).__name__}; {instead}")
    try:
        Config(**deepcopy(value))
    except (TypeError, ValueError, AttributeError, BotoCoreError) as error:
        raise ValueError(f"{parameter} is not taken by botocore: {error}; {instead}") from None
    return value


def location(bucket: Any, prefix: Any, organization_id: Any) -> TrailLocation:
    """
    Return where a trail delivers to.

    :raises ValueError: if the bucket is missing, or one of them can be none.
    """
    found = (text(bucket) or "").strip()
    if not found:
        raise ValueError(NO_TRAIL)
    _check_bucket(found)
    before = text(prefix) or ""
    if "AWSLogs" in before.split("/"):
        raise ValueError(f"prefix={before!r} holds AWSLogs/; write only what comes before it, or nothing")
    return TrailLocation(found, before, _organization(organization_id))


def _organization(organization_id: Any) -> str | None:
    found = text(organization_id)
    if found is not None and not _ORGANIZATION.fullmatch(found):
        raise ValueError(
            f"organization_id={found!r} is no organization; write its id, such as 'o-exampleorgid', which is "
            "the name of the folder behind AWSLogs/, or leave it out to read all layouts"
        )
    return found


def trail_location(parameter: str, value: Any) -> TrailLocation:
    """
    Return where a trail delivers to, as the hook takes it.

    :raises ValueError: if it is something else, such as the name of a bucket, or bucket or organization can be none.
    """
    if not isinstance(value, TrailLocation):
        raise ValueError(
            f"{parameter}={value!r} is no TrailLocation; write TrailLocation('my-trail-bucket'), and what comes before "
            "AWSLogs/ in its keys as prefix"
        )
    _check_bucket(value.bucket)
    return TrailLocation(value.bucket, value.prefix, _organization(value.organization_id))


def _check_bucket(bucket: Any) -> None:
    if str(bucket).startswith("file://") or (isinstance(bucket, str) and _BUCKET.fullmatch(bucket)):
        return
    instead = "write the name alone, and what comes before AWSLogs/ as prefix"
    if _ACCESS_POINT_ARN.match(str(bucket)):
        instead = (
            f"write the alias of the access point, which S3 shows beside its ARN and which ends with {ALIAS_SUFFIX}"
        )
    raise ValueError(f"bucket={bucket!r} is no bucket name; {instead}")


def queue_url(parameter: str, value: Any) -> str | None:
    """
    Return the URL of a queue; None: not given.

    :raises ValueError: if it is none, such as the ARN of a queue.
    """
    found = text(value)
    if found is not None and not _QUEUE_URL.fullmatch(found):
        raise ValueError(
            f"{parameter}={found!r} is no URL of a queue; write it as SQS shows it, such as "
            "https://sqs.eu-west-1.amazonaws.com/111122223333/cloudtrail-log-files"
        )
    return found
