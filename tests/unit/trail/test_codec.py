from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
import zlib
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.codec import AcceleratedCodec, MalformedError, StandardCodec
from tests.support.engines import REPOSITORY, installed

ACCELERATED = installed("isal") or installed("msgspec")
CODECS = [
    pytest.param(StandardCodec(), id="standard"),
    *([pytest.param(AcceleratedCodec(), id="accelerated")] if ACCELERATED else []),
]
MiB = 1024 * 1024
PACKED = gzip.compress(b'{"Records":[]}', mtime=0)


def outcome(work: Any) -> Any:
    try:
        return work()
    except MalformedError as fault:
        return fault.code


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("packed", "content"),
    [
        pytest.param(PACKED, b'{"Records":[]}', id="one member"),
        pytest.param(gzip.compress(b""), b"", id="empty"),
        pytest.param(gzip.compress(bytes(100_000), 1), bytes(100_000), id="repetitive"),
        pytest.param(b"\x1f\x8b\x08\x08\0\0\0\0\0\0name\0" + PACKED[10:], b'{"Records":[]}', id="header with a name"),
    ],
)
def test_gunzip(codec: StandardCodec, packed: bytes, content: bytes) -> None:
    assert codec.gunzip(packed, MiB) == content


def test_a_worker_that_is_out_of_memory_does_not_call_a_file_damaged() -> None:
    """In a process of its own, one of whose requests for memory is refused: the first, then the second, and so on."""
    pytest.importorskip("_testcapi", reason="needs Python's own tests")
    program = """if True:
        import _testcapi, gzip, random
        from airflow_provider_cloudtrail.trail.codec import StandardCodec
        packed = gzip.compress(bytes(random.Random(1).choices(b"abcdefgh", k=100_000)))
        refused = 0
        for number in range(60):
            _testcapi.set_nomemory(number, number + 1)
            try:
                StandardCodec().gunzip(packed, 1_000_000)
            except MemoryError:
                refused += 1
            finally:
                _testcapi.remove_mem_hooks()
        assert refused
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("packed", "code"),
    [
        pytest.param(b"", "not_gzip", id="no bytes"),
        pytest.param(b"\x1f", "not_gzip", id="one byte"),
        pytest.param(b'{"Records":[]}', "not_gzip", id="plain JSON"),
        pytest.param(zlib.compress(b"x"), "not_gzip", id="zlib"),
        pytest.param(b"PK\x03\x04", "not_gzip", id="zip"),
        pytest.param(gzip.compress(PACKED), "packed_twice", id="packed once more"),
        pytest.param(PACKED[:2], "truncated_gzip", id="magic alone"),
        pytest.param(PACKED[:10], "truncated_gzip", id="header alone"),
        pytest.param(PACKED[:-9], "truncated_gzip", id="cut inside of the data"),
        pytest.param(PACKED[:-8], "truncated_gzip", id="no checksum"),
        pytest.param(PACKED[:-1], "truncated_gzip", id="a byte of the length is missing"),
        pytest.param(PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "truncated_gzip", id="wrong checksum"),
        pytest.param(PACKED[:-4] + b"\xff\0\0\0", "truncated_gzip", id="wrong length"),
        pytest.param(PACKED[:2] + b"\x07" + PACKED[3:], "not_gzip", id="unknown method"),
        pytest.param(PACKED[:2] + b"\x07", "not_gzip", id="unknown method alone"),
        pytest.param(PACKED[:3], "truncated_gzip", id="method alone"),
        pytest.param(PACKED[:3] + b"\x20" + PACKED[4:], "not_gzip", id="reserved flag 20"),
        pytest.param(PACKED[:3] + b"\x40" + PACKED[4:], "not_gzip", id="reserved flag 40"),
        pytest.param(PACKED[:3] + b"\x80" + PACKED[4:], "not_gzip", id="reserved flag 80"),
        pytest.param(PACKED[:3] + b"\x80", "not_gzip", id="reserved flag alone"),
        pytest.param(PACKED[:10] + b"\xff" * 20, "truncated_gzip", id="data is noise"),
        pytest.param(PACKED + PACKED, "bytes_behind_gzip", id="second member"),
        pytest.param(PACKED + gzip.compress(b""), "bytes_behind_gzip", id="empty second member"),
        pytest.param(PACKED + b"\0", "bytes_behind_gzip", id="zero byte behind"),
        pytest.param(PACKED + b"x" * 70_000, "bytes_behind_gzip", id="many bytes behind"),
    ],
)
def test_gzip_faults(codec: StandardCodec, packed: bytes, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        codec.gunzip(packed, MiB)
    assert caught.value.code == code


@pytest.mark.parametrize("codec", CODECS)
def test_limit_is_the_last_size_that_passes(codec: StandardCodec) -> None:
    packed = gzip.compress(b"x" * 1000)
    assert len(codec.gunzip(packed, 1000)) == 1000
    with pytest.raises(MalformedError, match="more than max_file_bytes=999 bytes when unpacked") as caught:
        codec.gunzip(packed, 999)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("codec", CODECS)
def test_kind_of_bytes_behind_is_said(codec: StandardCodec) -> None:
    with pytest.raises(MalformedError, match="a second gzip member behind the end"):
        codec.gunzip(PACKED + PACKED, MiB)
    with pytest.raises(MalformedError, match=r"^bytes behind the end of the gzip stream \(3 bytes\)"):
        codec.gunzip(PACKED + b"abc", MiB)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Return a gzip file of a good megabyte that holds 256."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([*(packer.compress(bytes(MiB)) for _ in range(256)), packer.flush()])


_BOMB = """
import resource, sys
from airflow_provider_cloudtrail.trail.codec import AcceleratedCodec, MalformedError, StandardCodec
codec = {codec}()
packed = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    codec.gunzip(packed, 1024 * 1024)
except MalformedError as fault:
    print(fault.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("codec", ["StandardCodec", *(["AcceleratedCodec"] if ACCELERATED else [])])
def test_bomb_is_stopped_while_unpacking(codec: str, bomb: bytes) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _BOMB.format(codec=codec)], input=bomb, capture_output=True, check=True, cwd=REPOSITORY
    )
    code, kilobytes = run.stdout.split()
    assert code == b"too_large"
    assert int(kilobytes) < 32 * 1024


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


DOCUMENTS = [
    pytest.param(b'{"Records":[]}', [], id="no record"),
    pytest.param(b'{"Records":[{"a":1}]}', [b'{"a":1}'], id="one"),
    pytest.param(b'{"Records":[{"a":1},{"b":2}]}', [b'{"a":1}', b'{"b":2}'], id="two"),
    pytest.param(b'{"Records": [ {"a" : 1} ,\n\t{"b":2} ] }\r\n', [b'{"a" : 1}', b'{"b":2}'], id="spaces are not part"),
    pytest.param(b' \n{"Records":[1,null,"x",[],true]}', [b"1", b"null", b'"x"', b"[]", b"true"], id="no objects"),
    pytest.param(b'{"other":{"Records":[1]},"Records":[2],"more":[3]}', [b"2"], id="members before and behind"),
    pytest.param(b'{"Records":[1],"Records":[2]}', [b"2"], id="given twice: the last counts"),
    pytest.param(b'{"Records":1,"Records":[2]}', [b"2"], id="given twice, first no list"),
    pytest.param(b'{"\\u0052ecords":[2]}', [b"2"], id="name in escapes"),
    pytest.param(b'{"Records":["]},{[\\"]"]}', [b'"]},{[\\"]"'], id="brackets in text"),
    pytest.param(b'{"Records":[{"a":"\xc3\xa9\xf0\x9f\x8c\x8a"}]}', [b'{"a":"\xc3\xa9\xf0\x9f\x8c\x8a"}'], id="UTF-8"),
    pytest.param(b'{"Records":[{"a":"\xff"},{"b":1}]}', [b'{"a":"\xff"}', b'{"b":1}'], id="a record is not UTF-8"),
    pytest.param(b'{"Records":["\\ud83d"]}', [b'"\\ud83d"'], id="half a surrogate pair"),
    pytest.param(b'{"Records":[1e400,-0,123456789012345678901234567890]}', [b"1e400", b"-0", b"123456789012345678901234567890"], id="numbers of any size"),  # noqa: E501
    pytest.param(b'{"Records":[' + b"9" * 5000 + b"]}", [b"9" * 5000], id="number of 5,000 digits"),
    pytest.param(b"", "not_json", id="nothing"),
    pytest.param(b" \n", "not_json", id="spaces"),
    pytest.param(b"{", "not_json", id="sudden end"),
    pytest.param(b'{"Records"', "not_json", id="end behind the name"),
    pytest.param(b'{"Records":', "not_json", id="end behind the colon"),
    pytest.param(b'{"Records":[', "not_json", id="end in the list"),
    pytest.param(b'{"Records":[{"a":1}', "not_json", id="end behind a record"),
    pytest.param(b'{"Records":[{"a":1},', "not_json", id="end behind a comma"),
    pytest.param(b'{"Records":[{"a":1}]', "not_json", id="end behind the list"),
    pytest.param(b'{"Records":[{"a":1},]}', "not_json", id="comma too many"),
    pytest.param(b'{"Records":[],}', "not_json", id="comma behind the list"),
    pytest.param(b'{"Records":[{"a":1} {"b":2}]}', "not_json", id="no comma"),
    pytest.param(b'{"Records":[{a:1}]}', "not_json", id="names without quotes"),
    pytest.param(b"{'Records':[]}", "not_json", id="single quotes"),
    pytest.param(b'{"Records":[NaN]}', "not_json", id="NaN"),
    pytest.param(b'{"Records":[-Infinity]}', "not_json", id="Infinity"),
    pytest.param(b'{"Records":[]}{"Records":[1]}', "not_json", id="two documents"),
    pytest.param(b'{"Records":[]}x', "not_json", id="text behind"),
    pytest.param(b'{"Records":[]}\0', "not_json", id="NUL behind"),
    pytest.param(b'\xef\xbb\xbf{"Records":[]}', "not_json", id="byte order mark"),
    pytest.param(b'{"a":1}\n{"b":2}\n', "not_json", id="JSON lines"),
    pytest.param(b"<xml/>", "not_json", id="XML"),
    pytest.param(b"\xff\xfe", "not_json", id="noise"),
    pytest.param(b"{}", "no_records", id="empty object"),
    pytest.param(b'{"records":[]}', "no_records", id="name in lower case"),
    pytest.param(b'{"Records":null}', "no_records", id="null"),
    pytest.param(b'{"Records":{"a":1}}', "no_records", id="an object"),
    pytest.param(b'{"Records":"[]"}', "no_records", id="text"),
    pytest.param(b'{"Records":[1],"Records":2}', "no_records", id="given twice, last no list"),
    pytest.param(b'[{"a":1}]', "no_records", id="bare list"),
    pytest.param(b'"Records"', "no_records", id="bare text"),
    pytest.param(b"null", "no_records", id="bare null"),
    pytest.param(b'{"Records":[' + _nested(100_000) + b"]}", "nested_too_deeply", id="nested deeply"),
]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("content", "expected"), DOCUMENTS)
def test_split_records(codec: StandardCodec, content: bytes, expected: Any) -> None:
    assert outcome(lambda: list(map(bytes, codec.split_records(content)))) == expected


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b'{"a":[1,2.5,null,true,"x"]}', {"a": [1, 2.5, None, True, "x"]}, id="all types"),
        pytest.param(b'{"a":9007199254740993}', {"a": 9007199254740993}, id="above 2^53"),
        pytest.param(b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}, id="above 2^64"),
        pytest.param(b'{"a":1,"A":2,"a.b":3,"*":4,"":5}', {"a": 1, "A": 2, "a.b": 3, "*": 4, "": 5}, id="odd names"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="name given twice"),
        pytest.param(b'"\\u0000"', "\0", id="NUL"),
        pytest.param(b'"\\ud83c\\udf0a"', "\N{WATER WAVE}", id="surrogate pair"),
        pytest.param(b'"\\ud83c"', "\ud83c", id="half a surrogate pair"),
        pytest.param(b'"\xff"', "invalid_utf8", id="not UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', "invalid_utf8", id="surrogate as UTF-8"),
        pytest.param(b'"\xc0\x80"', "invalid_utf8", id="NUL in two bytes"),
        pytest.param(b"{", "not_json", id="sudden end"),
        pytest.param(b"", "not_json", id="nothing"),
        pytest.param(b'"\n"', "not_json", id="line end in text"),
        pytest.param(b'"\\x"', "not_json", id="unknown escape"),
        pytest.param(b"NaN", "not_json", id="NaN"),
        pytest.param(b"01", "not_json", id="leading zero"),
        pytest.param(_nested(100_000), "nested_too_deeply", id="nested deeply"),
    ],
)
def test_decode(codec: StandardCodec, data: bytes, expected: Any) -> None:
    assert outcome(lambda: codec.decode(data)) == expected


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"a": [1, None, True]}, '{"a":[1,null,true]}', id="compact"),
        pytest.param("\N{WATER WAVE}é", '"\N{WATER WAVE}é"', id="not escaped"),
        pytest.param('"\\\n', r'"\"\\\n"', id="what must be escaped is"),
        pytest.param(10**30, str(10**30), id="integer of any size"),
        pytest.param({}, "{}", id="empty"),
    ],
)
def test_encode(codec: StandardCodec, value: Any, text: str) -> None:
    assert codec.encode(value) == text
    assert json.loads(codec.encode(value)) == value


def test_fault_survives_a_process_border() -> None:
    fault = pickle.loads(pickle.dumps(MalformedError("not_gzip", "no gzip")))
    assert (fault.code, str(fault)) == ("not_gzip", "no gzip")
