"""Rows as lines of JSON in compressed files, which an engine loads."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator


def put_lines(lines: Iterable[bytes], put: Callable[[str, bytes], None], file_bytes: int) -> None:
    """
    Write lines into files, one after the other.

    :param put: takes the name and the content of a file.
    :param file_bytes: how many bytes of lines make a file full, uncompressed.
    """
    of_file: list[bytes] = []
    size = number = 0
    for line in lines:
        of_file.append(line)
        size += len(line)
        if size >= file_bytes:
            put(f"{number:05}.json.gz", gzip.compress(b"\n".join(of_file), 1))
            of_file, size, number = [], 0, number + 1
    if of_file:
        put(f"{number:05}.json.gz", gzip.compress(b"\n".join(of_file), 1))


def put_shortened_lines(lines: Iterable[tuple[bytes, int]], put: Callable[[str, bytes], None], file_bytes: int) -> int:
    """
    Write lines as :func:`put_lines` does, and return how many texts in them are shortened.

    :param lines: each with how many texts are shortened in it.
    """
    shortened = 0

    def alone() -> Iterator[bytes]:
        nonlocal shortened
        for line, of_line in lines:
            shortened += of_line
            yield line

    put_lines(alone(), put, file_bytes)
    return shortened
