"""
The block of this package in an environment's requirements.txt; every byte outside of it is somebody else's.

The block stands at the start, so that nothing has to be known about how the rest ends. It must not hold ``-c``
or ``--constraint``, not even in a comment: MWAA would then leave out its own constraints (MWAA user guide,
"Installing Python dependencies").
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError

_BEGIN = b"# >>> airflow-provider-cloudtrail: written by its deployment, until the line with <<<"
_END = b"# <<< airflow-provider-cloudtrail"
_BLOCK = re.compile(re.escape(_BEGIN) + rb"\r?\n(.*?)" + re.escape(_END) + rb"(?:\r?\n|\Z)", re.DOTALL)
# By name, or its file by a path or a URL.
_OF_THE_PACKAGE = re.compile(
    rb"^\s*airflow[-_.]+provider[-_.]+cloudtrail\b|^[^#\r\n]*/airflow_provider_cloudtrail-[^/\s]*\.(?:whl|tar\.gz)",
    re.IGNORECASE | re.MULTILINE,
)
_NO_INDEX = re.compile(rb"^(?:[^#\r\n]*\s)?--no-index\b", re.MULTILINE)
_HASHES = re.compile(rb"^[^#\r\n]*\s--hash[= ]|^\s*--require-hashes\b", re.MULTILINE)
_REQUIREMENT = re.compile(rb"^\s*[A-Za-z0-9./]", re.MULTILINE)
_UNREADABLE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def foreign_part(content: bytes) -> bytes:
    """
    Return a requirements.txt without the block of this package.

    :raises MwaaStateError: if a marker stands there alone.
    """
    rest = _BLOCK.sub(b"", content)
    if _BEGIN in rest or _END in rest:
        raise MwaaStateError(
            "requirements.txt holds a broken block of airflow-provider-cloudtrail: delete the lines from "
            f"{_BEGIN.decode()!r} to {_END.decode()!r}, then deploy again"
        )
    return rest


def own_lines(content: bytes) -> tuple[str, ...]:
    """Return the lines in the block of this package; none if there is no block."""
    found = _BLOCK.search(content)
    return tuple(found[1].decode().splitlines()) if found else ()


def merged(content: bytes, lines: Sequence[str]) -> bytes:
    """
    Return a requirements.txt with a block of these lines, or without one if there are none.

    :param content: the file as it is, with or without a block.
    :raises MwaaStateError: if the rest of the file and the lines contradict each other.
    """
    rest = foreign_part(content)
    if not lines:
        return rest or b"\n"
    _check(rest, lines)
    block = b"\n".join([_BEGIN, *(line.encode() for line in lines), _END, b""])
    start = codecs.BOM_UTF8 if rest.startswith(codecs.BOM_UTF8) else b""
    return start + block + rest.removeprefix(start)


def _check(rest: bytes, lines: Sequence[str]) -> None:
    if rest.startswith(_UNREADABLE):
        raise MwaaStateError("requirements.txt is in UTF-16: save it as UTF-8, then deploy again")
    if _OF_THE_PACKAGE.search(rest):
        raise MwaaStateError(
            "requirements.txt already asks for airflow-provider-cloudtrail in a line of your own, and pip refuses to "
            "be asked twice: delete that line, then deploy again"
        )
    if _HASHES.search(rest):
        raise MwaaStateError(
            "requirements.txt has hashes, and pip would then refuse the lines of this package, which have none, "
            "with all others: deploy in mode plugins or copy, which need no line, or take the hashes away"
        )
    local = "--no-index" in lines
    if local and not _NO_INDEX.search(rest) and _REQUIREMENT.search(rest):
        raise MwaaStateError(
            "--no-index would hold for your own lines of requirements.txt too, which have no --no-index: put wheels of "
            "all of them into plugins.zip and the option into your part of the file, or deploy without it"
        )
    if not local and _NO_INDEX.search(rest):
        raise MwaaStateError(
            "requirements.txt has --no-index, so pip finds only wheels in plugins.zip: deploy with --no-index and "
            "--wheels FOLDER"
        )
