"""
Gunzip, split and decode: the one place that knows which accelerators are installed.

``isal`` (decompression) and ``msgspec`` (JSON) are ordinary dependencies, but a package that was only
copied to a DAG folder has none: then ``zlib`` and ``json`` stand in, with the same results. The
stand-in also has the last word where an accelerator refuses: it reads what JSON allows and an
accelerator does not (lone surrogates, numbers of any size), and names what is wrong with the rest.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from airflow_provider_cloudtrail.trail.json_spans import NoRecordsError, record_spans, refuse_constant

try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None  # type: ignore[assignment]
try:
    import msgspec
except ImportError:
    msgspec = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.trail.documented_record import DocumentedRecord

# Before 0.20 msgspec's own errors were no ValueError.
_REFUSALS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    RecursionError,
    *(() if msgspec is None else (msgspec.MsgspecError,)),
)

DAMAGED = ("bytes_behind_gzip", "truncated_gzip", "not_gzip", "packed_twice")
"""Faults of what is not one whole gzip member, as CloudTrail writes it."""

GZIP_WINDOW = 31
"""``wbits`` of a gzip stream with header and checksum."""
_DEFLATE = b"\x08"
# RFC 1952: whoever reads a file with one of these set must give an error.
_RESERVED_FLAGS = 0xE0

# No log file unpacks to more than this many times its size.
_HIGHEST_RATIO = 100


class MalformedError(ValueError):
    """
    Raised when bytes are not what they should be.

    :param code: one word for the kind of fault, such as ``not_gzip``.
    :param message: what is wrong, without any of the bytes.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[MalformedError], tuple[str, str]]:
        return type(self), (self.code, str(self))


class RawRecord(Protocol):
    """The text of a record in a document."""

    def __bytes__(self) -> bytes:
        """Return a copy of it."""

    def __len__(self) -> int:
        """Return its length in bytes."""


class StandardCodec:
    """``zlib`` and ``json`` of the standard library."""

    name = "zlib, json"
    _decompressobj: Any = staticmethod(zlib.decompressobj)
    _decompress_error: type[Exception] = zlib.error

    def gunzip(self, data: bytes, limit: int) -> bytes:
        """
        Decompress exactly one gzip member.

        A second member or any byte behind the first is refused: readers that go on and readers that
        stop there see different contents under one signed hash.

        :param data: the object as stored.
        :param limit: most bytes that may come out; decompression stops there.
        :raises MalformedError: one of ``DAMAGED``, or ``too_large``.
        """
        if data[:2] != b"\x1f\x8b":
            raise MalformedError("not_gzip", f"not a gzip file (it has {len(data)} bytes)")
        # A file may end before these two bytes; then it is a truncated one. zlib refuses them, isal reads on.
        method, flags = data[2:3], data[3:4]
        if method not in (b"", _DEFLATE) or (flags and flags[0] & _RESERVED_FLAGS):
            raise MalformedError("not_gzip", "the gzip header has a method or flags that RFC 1952 does not know")
        stream = self._decompressobj(wbits=GZIP_WINDOW)
        try:
            # As much as the end of the file promises, and one byte more so that its checksum is reached: the
            # buffer then need not grow and shrink. A promise that is not kept costs a second call.
            content: bytes = stream.decompress(data, min(_promised(data), limit) + 1)
            if stream.unconsumed_tail and len(content) <= limit:
                content += stream.decompress(stream.unconsumed_tail, limit + 1 - len(content))
        except self._decompress_error as error:
            # Z_MEM_ERROR, for which Python has no other; isal has one, and another meaning of this number.
            if isinstance(error, zlib.error) and str(error).startswith("Error -4 "):
                raise MemoryError from None
            raise MalformedError(
                "truncated_gzip", "the gzip stream is damaged (its data or checksum is wrong)"
            ) from None
        if len(content) > limit:
            raise MalformedError("too_large", f"more than max_file_bytes={limit} bytes when unpacked")
        if not stream.eof:
            raise MalformedError("truncated_gzip", "the gzip stream is truncated or damaged: it does not reach its end")
        if stream.unused_data:
            kind = "a second gzip member" if stream.unused_data[:2] == b"\x1f\x8b" else "bytes"
            raise MalformedError(
                "bytes_behind_gzip",
                f"{kind} behind the end of the gzip stream ({len(stream.unused_data)} bytes); "
                "what CloudTrail signed and what other readers see would differ",
            )
        if content[:2] == b"\x1f\x8b":
            raise MalformedError("packed_twice", "what was unpacked is a gzip file again")
        return content

    def split_records(self, document: bytes) -> Sequence[RawRecord]:
        """
        Return each element of ``Records``, as it stands in the document.

        :param document: uncompressed log file: one JSON object with a list ``Records``.
        :return: the bytes of the elements, or what ``bytes()`` and ``len()`` can be taken of.
        :raises MalformedError: ``not_json``, ``no_records`` (missing, or no list) or ``nested_too_deeply``.
        """
        # Bytes that are not UTF-8 pass through here: they put one record in quarantine, not the file.
        text = document.decode("utf-8", "surrogateescape")
        try:
            spans = record_spans(text)
        except RecursionError:
            raise MalformedError("nested_too_deeply", "the JSON is nested too deeply") from None
        except NoRecordsError as error:
            raise MalformedError("no_records", str(error)) from None
        except (ValueError, IndexError) as error:
            position = f" (near character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
            raise MalformedError("not_json", f"not valid JSON{position}") from None
        return [text[start:end].encode("utf-8", "surrogateescape") for start, end in spans]

    def decode(self, data: bytes) -> Any:
        """
        Decode one JSON value.

        :raises MalformedError: ``invalid_utf8``, ``not_json``, ``number_out_of_range`` or ``nested_too_deeply``.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("invalid_utf8", f"not UTF-8 (byte {error.start} of the record)") from None
        return _decoded(_DECODER, text)

    def decode_leniently(self, data: bytes) -> Any:
        """
        Decode one JSON value that :meth:`decode` may refuse, to be shown and not to be loaded.

        A byte that is not UTF-8 becomes the text of its escape: backslash, x and two digits. A number that no JSON
        column can store becomes text, too.

        :raises MalformedError: ``not_json`` or ``nested_too_deeply``.
        """
        text = data.decode("utf-8", "surrogateescape")
        return _decoded(_LENIENT, _BAD_BYTE.sub(lambda bad: rf"\\x{ord(bad[0]) - 0xDC00:02x}", text))

    def documented(self, data: bytes) -> DocumentedRecord | None:  # noqa: ARG002 - for codecs that can
        """Decode a record straight into its members, or return None for one that has to be read leniently."""
        return None

    def encode(self, value: Any) -> str:
        """
        Encode a decoded value as compact JSON text, not escaping what is not ASCII.

        :raises ValueError: for numbers that JSON cannot carry.
        """
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class AcceleratedCodec(StandardCodec):
    """The same with what is installed of ``isal`` and ``msgspec``."""

    def __init__(self) -> None:
        if isal_zlib is not None:
            self._decompressobj = isal_zlib.decompressobj
            self._decompress_error = cast(type[Exception], isal_zlib.error)
        if msgspec is not None:

            class LogFileDocument(msgspec.Struct):
                Records: list[msgspec.Raw]

            from airflow_provider_cloudtrail.trail.documented_record import decode_documented

            self._documented = decode_documented
            self._split = msgspec.json.Decoder(LogFileDocument).decode
            self._decode = msgspec.json.Decoder().decode
            self._encode = msgspec.json.Encoder().encode
        self.name = ", ".join((
            "isal" if isal_zlib is not None else "zlib",
            "msgspec" if msgspec is not None else "json",
        ))

    def split_records(self, document: bytes) -> Sequence[RawRecord]:
        """Return each element of ``Records``; most are not wanted, so nothing is copied."""
        if msgspec is not None:
            try:
                records: Sequence[RawRecord] = self._split(document).Records
                return records
            except _REFUSALS:
                pass
        return super().split_records(document)

    def decode(self, data: bytes) -> Any:
        """Decode one JSON value."""
        if msgspec is not None:
            try:
                return self._decode(data)
            except _REFUSALS:
                pass
        return super().decode(data)

    def documented(self, data: bytes) -> DocumentedRecord | None:
        """Decode a record that is written as documented."""
        if msgspec is not None:
            try:
                return self._documented(data)
            except _REFUSALS:
                pass
        return None

    def encode(self, value: Any) -> str:
        """Encode a decoded value as compact JSON text."""
        if msgspec is not None:
            try:
                return self._encode(value).decode()
            except _REFUSALS:
                pass
        return super().encode(value)


def _promised(data: bytes) -> int:
    """Return the size that the trailer of a gzip file names; for what is no trailer any number."""
    return min(int.from_bytes(data[-4:], "little"), len(data) * _HIGHEST_RATIO)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise MalformedError("number_out_of_range", "a number is too large for any JSON column")
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise MalformedError("number_out_of_range", "a number has too many digits for any JSON column") from None


def _or_text(number: Callable[[str], float]) -> Callable[[str], Any]:
    """Return what reads a number, or gives its digits as text where it is refused."""

    def number_or_text(digits: str) -> Any:
        try:
            return number(digits)
        except MalformedError:
            return digits

    return number_or_text


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise MalformedError("nested_too_deeply", "the JSON is nested too deeply") from None
    except MalformedError:
        raise
    except ValueError:
        raise MalformedError("not_json", "not valid JSON") from None


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite, parse_int=_integer)
_LENIENT = json.JSONDecoder(parse_constant=str, parse_float=_or_text(_finite), parse_int=_or_text(_integer))
# What "surrogateescape" makes of a byte that is not UTF-8.
_BAD_BYTE = re.compile("[\udc80-\udcff]")

CODEC: StandardCodec = AcceleratedCodec() if isal_zlib is not None or msgspec is not None else StandardCodec()
"""What this installation decodes with, chosen once."""
