"""
Run as a program: a folder as an S3 bucket, over HTTP on this machine, as fast as one process can.

Answers GET, HEAD, ranges and ListObjectsV2 from memory, checks no signature, and counts what it is asked for. The name
of the bucket does not matter. Prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

COUNTED = "/-counted"
"""Path that says what was asked for since it was asked for itself."""
_MODIFIED = "Tue, 03 Feb 2026 10:00:00 GMT"


class Bucket:
    """
    The objects of a folder.

    :param metadata: user metadata by key.
    """

    def __init__(self, folder: Path, metadata: dict[str, dict[str, str]]) -> None:
        self.objects = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.suffix == ".gz"
        }
        self.keys = sorted(self.objects)
        self.headers = {
            key: "".join(f"x-amz-meta-{name}: {value}\r\n" for name, value in metadata.get(key, {}).items())
            for key in self.keys
        }
        # Made beforehand: what this server costs for a page is not the client's.
        self.entries = [
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-02-03T10:00:00.000Z</LastModified>"
            f"<ETag>&quot;e&quot;</ETag><Size>{len(self.objects[key])}</Size></Contents>"
            for key in self.keys
        ]
        self.counted: Counter[str] = Counter()

    def answer(self, method: str, path: str, query: str, ranged: str) -> bytes:
        if path == COUNTED:
            body = json.dumps(self.counted).encode()
            self.counted.clear()
            return _response("200 OK", body, "application/json")
        _, _, key = path[1:].partition("/")
        if not key:
            self.counted["LIST" if query else "HEAD"] += 1
            return _response("200 OK", self._listed(parse_qs(query, keep_blank_values=True)), "application/xml")
        self.counted[method] += 1
        if key not in self.objects:
            return _response("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        body, more = self.objects[key], self.headers[key]
        if method == "HEAD":
            return _response("200 OK", body, "binary/octet-stream", more, head=True)
        if ranged:
            first, _, last = ranged.partition("=")[2].partition("-")
            end = min(int(last or len(body) - 1), len(body) - 1)
            more += f"Content-Range: bytes {first}-{end}/{len(body)}\r\n"
            return _response("206 Partial Content", body[int(first) : end + 1], "binary/octet-stream", more)
        return _response("200 OK", body, "binary/octet-stream", more)

    def _listed(self, query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        after = max(query.get("start-after", [""])[0], query.get("continuation-token", [""])[0])
        most = int(query.get("max-keys", ["1000"])[0])
        position = bisect_right(self.keys, after) if after >= prefix else bisect_right(self.keys, prefix)
        parts: list[str] = []
        last = ""
        while position < len(self.keys) and self.keys[position].startswith(prefix) and len(parts) < most:
            key = self.keys[position]
            folder = key.find(delimiter, len(prefix)) if delimiter else -1
            if folder >= 0:
                last = key[: folder + 1]
                parts.append(f"<CommonPrefixes><Prefix>{escape(last)}</Prefix></CommonPrefixes>")
                # Behind all keys of this folder.
                last += "\U0010ffff"
                position = bisect_right(self.keys, last)
            else:
                last = key
                parts.append(self.entries[position])
                position += 1
        more = position < len(self.keys) and self.keys[position].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(parts)}</ListBucketResult>"
        ).encode()


class Connection(asyncio.Protocol):
    """A connection of a client, kept alive."""

    def __init__(self, bucket: Bucket, delay: float) -> None:
        self._bucket = bucket
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            first, _, headers = head.decode("latin-1").partition("\r\n")
            method, target, _ = first.split(" ", 2)
            path, _, query = target.partition("?")
            ranged = next((line for line in headers.split("\r\n") if line.lower().startswith("range:")), "")
            answer = self._bucket.answer(method, unquote(path), query, ranged)
            if self._delay and path != COUNTED:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)  # type: ignore[attr-defined]
            else:
                self._transport.write(answer)  # type: ignore[attr-defined]


def _response(status: str, body: bytes, kind: str, more: str = "", *, head: bool = False) -> bytes:
    return (
        f'HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nETag: "e"\r\n'
        f"Last-Modified: {_MODIFIED}\r\nAccept-Ranges: bytes\r\n{more}\r\n"
    ).encode() + (b"" if head else body)


async def serve(bucket: Bucket, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(bucket, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--metadata", type=Path, help="JSON file with the user metadata of the objects, by key")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    said = parser.parse_args()
    asyncio.run(serve(Bucket(said.folder, json.loads(said.metadata.read_text()) if said.metadata else {}), said.delay))
