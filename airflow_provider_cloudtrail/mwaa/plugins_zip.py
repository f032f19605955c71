"""
The entries of this package in an environment's plugins.zip; every other entry is somebody else's and stays as it is.

Entries are written with a fixed time, so that the same content gives the same bytes, and no update of the environment.
"""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from collections.abc import Collection, Mapping

from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError

_TIME = (2020, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
EMPTY = {"airflow-provider-cloudtrail.txt": b"This plugins.zip holds nothing any more; unzip refuses an empty one.\n"}
"""What a plugins.zip holds that holds nothing else."""


def digests(content: bytes) -> dict[str, str]:
    """
    Return the SHA-256 of every entry by name; of entries with the same name, the last one counts.

    :raises MwaaStateError: if it is no readable zip file.
    """
    with _opened(content) as archive:
        return {info.filename: hashlib.sha256(_read(archive, info)).hexdigest() for info in archive.infolist()}


def merged(content: bytes | None, own: Mapping[str, bytes], replaced: Collection[str]) -> bytes:
    """
    Return a plugins.zip with the entries of this package.

    :param content: the file as it is; None: there is none.
    :param own: content by name of what shall be in it.
    :param replaced: names of what this package has put there before.
    :raises MwaaStateError: if it is no readable zip file.
    """
    if content is not None and _holds_just(content, own, replaced):
        return content
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        kept = _copy_foreign(content, archive, {*own, *replaced, *EMPTY}) if content is not None else 0
        for name, data in sorted((own or ({} if kept else EMPTY)).items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = _MODE
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return output.getvalue()


def _copy_foreign(content: bytes, target: zipfile.ZipFile, left_out: Collection[str]) -> int:
    copied = 0
    with _opened(content) as source:
        target.comment = source.comment
        for info in source.infolist():
            if info.filename not in left_out:
                data = _read(source, info)
                target.writestr(copy.copy(info), data, info.compress_type)
                copied += 1
    return copied


def _holds_just(content: bytes, own: Mapping[str, bytes], replaced: Collection[str]) -> bool:
    found = digests(content)
    there = {name for name in found if name in own or name in replaced}
    return there == set(own) and all(found[name] == hashlib.sha256(data).hexdigest() for name, data in own.items())


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise MwaaStateError(f"the environment's plugins.zip is no zip file ({error}); nothing was changed") from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    # zipfile's own for a damaged member, for an encrypted one, and for a compression that it does not know.
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise MwaaStateError(
            f"{info.filename} in the environment's plugins.zip cannot be read ({error}); nothing was changed"
        ) from None
