"""What S3, or what stands between, can answer to a listing: nothing is taken for its end that is none."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import islice

import pytest

from airflow_provider_cloudtrail.trail.obstore_bucket import CountingCredentials
from airflow_provider_cloudtrail.trail.store import ListingDeniedError, StoreError
from tests.support.engines import installed
from tests.support.s3 import TRANSPORTS, ScriptedS3, error_body, s3_store

needs_boto3 = pytest.mark.skipif(not installed("boto3"), reason="needs boto3")


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_listing_that_is_denied(transport: str) -> None:
    with ScriptedS3([(403, error_body("AccessDenied"))]).running() as script:
        store = s3_store(script.endpoint, "example-trail", transport)
        for listing in (store.folders, lambda prefix: list(store.objects(prefix))):
            with pytest.raises(
                ListingDeniedError,
                match=r"listing s3://example-trail/AWSLogs/: AccessDenied.*; the role needs s3:ListBucket",
            ):
                listing("AWSLogs/")


def page_of(names: Sequence[str], *, goes_on: bool = False) -> bytes:
    entries = "".join(
        f"<Contents><Key>{name}</Key><LastModified>2026-02-03T10:00:00.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>{0 if name.endswith('/') else 5}</Size></Contents>"
        for name in names
    )
    more = f"<NextContinuationToken>{names[-1:]}</NextContinuationToken>" if goes_on else ""
    return (
        "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Name>bucket</Name>"
        f"<KeyCount>{len(names)}</KeyCount><IsTruncated>{str(goes_on).lower()}</IsTruncated>{more}{entries}"
        "</ListBucketResult>"
    ).encode()


NAMES = [f"a/{number:04d}" for number in range(1_003)]
# Of all answers, not only of those to copies.
HANDLERS = importlib.import_module("botocore.handlers") if installed("boto3") else None
BOTO3_KNOWS_ERRORS = hasattr(HANDLERS, "_handle_200_error")
BROKEN = "500" if BOTO3_KNOWS_ERRORS else "Unable to parse response"
WHOLE = page_of(NAMES[1_000:])


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("before", [0, 1_000])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            error_body("InternalError"),
            "InternalError: made & up" if BOTO3_KNOWS_ERRORS else "is no listing of S3",
            id="error with the status of success",
        ),
        pytest.param(b"<html><body>Please log in</body></html>", "is no listing of S3", id="another document"),
        pytest.param(b"", "is no listing of S3", id="nothing"),
        pytest.param(WHOLE[: WHOLE.index(b"<Contents>")], BROKEN, id="breaks off before the objects"),
        pytest.param(WHOLE[: WHOLE.index(b"</Contents>") + 11], BROKEN, id="breaks off between objects"),
        pytest.param(WHOLE.removesuffix(b"</ListBucketResult>"), BROKEN, id="breaks off at its end"),
    ],
)
def test_answer_that_is_no_listing_is_not_taken_for_its_end(
    transport: str, before: int, answer: bytes, said: str
) -> None:
    pages = [(200, page_of(NAMES[:before], goes_on=True))] if before else []
    found = []
    with ScriptedS3([*pages, (200, answer)]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        with pytest.raises(StoreError, match=said) as raised:
            found.extend(entry.key for entry in store.objects("a/"))
    assert found == NAMES[:before]
    assert "listing s3://bucket/a/" in str(raised.value)


@needs_boto3
@pytest.mark.skipif(not BOTO3_KNOWS_ERRORS, reason="needs a newer boto3")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_answer_that_is_no_listing_once(transport: str) -> None:
    answers: list[tuple[int, bytes] | str] = [(200, page_of(NAMES[:1_000], goes_on=True))]
    with ScriptedS3([*answers, (200, error_body("InternalError")), (200, WHOLE)]).running() as server:
        assert [entry.key for entry in s3_store(server.endpoint, "bucket", transport).objects("a/")] == NAMES


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([300], id="one page"),
        pytest.param([300, 200, 400], id="several pages that fit into one"),
        pytest.param([1_000, 1], id="a whole one and another"),
        pytest.param([1_000, 3, 0], id="an empty one"),
    ],
)
def test_error_behind_pages_that_are_not_whole_is_not_taken_for_the_end(transport: str, sizes: list[int]) -> None:
    answers: list[tuple[int, bytes] | str] = []
    given = 0
    for size in sizes:
        answers.append((200, page_of(NAMES[given : given + size], goes_on=True)))
        given += size
    found = []
    with ScriptedS3([*answers, (200, error_body("InternalError"))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        with pytest.raises(StoreError, match="listing s3://bucket/a/"):
            found.extend(entry.key for entry in store.objects("a/"))
    assert found == NAMES[:given]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("sizes", [[3], [999], [1_000], [1_000, 3], [700, 303], [300, 300, 3]], ids=str)
def test_what_must_be_all_is_asked_for_once(transport: str, sizes: list[int]) -> None:
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    answers: list[tuple[int, bytes] | str] = [
        (200, page_of(NAMES[start : start + size], goes_on=start != starts[-1]))
        for start, size in zip(starts, sizes, strict=True)
    ]
    end = (200, page_of([]))
    # Pages that would have fitted into fewer may have ended with one that is none, and obstore cannot tell.
    unsure = transport == "obstore" and sum(sizes) <= 1_000 * (len(sizes) - 1)
    with ScriptedS3([*answers, end]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        assert [entry.key for entry in store.objects("a/")] == NAMES[: sum(sizes)]
    assert len(server.paths) == store.requests["LIST"] == len(sizes) + unsure


@needs_boto3
@pytest.mark.skipif("obstore" not in TRANSPORTS, reason="needs obstore")
@pytest.mark.parametrize("size", [0, 3])
def test_a_listing_whose_pages_are_not_counted_is_made_sure_of(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(CountingCredentials, "counting", lambda _, ask: (ask(), 0))
    with ScriptedS3([(200, page_of(NAMES[:size])), (200, page_of([]))]).running() as server:
        store = s3_store(server.endpoint, "bucket", "obstore")
        assert [entry.key for entry in store.objects("a/")] == NAMES[:size]
    assert len(server.paths) == 2


@needs_boto3
@pytest.mark.skipif("obstore" not in TRANSPORTS, reason="needs obstore")
@pytest.mark.parametrize(("make_sure", "requests"), [(True, 2), (False, 1)])
def test_who_looks_again_anyway_asks_once(make_sure: bool, requests: int) -> None:
    with ScriptedS3([(200, page_of([]))]).running() as server:
        store = s3_store(server.endpoint, "bucket", "obstore")
        assert list(store.objects("a/", make_sure=make_sure)) == []
    assert len(server.paths) == store.requests["LIST"] == requests


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_page_that_is_listed_for_ever_is_refused(transport: str) -> None:
    """As a proxy does that takes no notice of what is asked for behind the name of the bucket."""
    found = []
    with ScriptedS3([(200, page_of(NAMES[:1_000], goes_on=True))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        with pytest.raises(StoreError, match=r"listing s3://bucket/a/: a/0000 was listed behind a/0999.*endpoint_url"):
            found.extend(entry.key for entry in islice(store.objects("a/"), 5_000))
    assert found == NAMES[:1_000]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_listing_in_no_order_is_refused(transport: str) -> None:
    """Whoever reads a window stops behind it, and would lose what comes later."""
    found = []
    with ScriptedS3([(200, page_of(["a/1", "a/3", "a/2"]))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        with pytest.raises(StoreError, match=r"a/2 was listed behind a/3.*endpoint_url"):
            found.extend(entry.key for entry in store.objects("a/"))
    assert found == ["a/1", "a/3"]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_marker_of_a_folder_is_no_disorder(transport: str) -> None:
    """The console makes some; obstore leaves out their last slash, which has its place behind ``-``."""
    names = ["a/3-old/x", "a/3/", "a/3/y", "a/4/", "a/4/z"]
    with ScriptedS3([(200, page_of(names))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        found = [entry.key for entry in store.objects("a/") if entry.size_bytes]
    assert found == ["a/3-old/x", "a/3/y", "a/4/z"]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_marker_that_is_listed_for_ever_is_refused(transport: str) -> None:
    with ScriptedS3([(200, page_of(["a/3/"], goes_on=True))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        with pytest.raises(StoreError, match="was listed behind a/3"):
            list(islice(store.objects("a/"), 5_000))


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_that_does_not_know_where_to_start(transport: str) -> None:
    with ScriptedS3([(200, page_of(["a/1", "a/2", "a/3"]))]).running() as server:
        store = s3_store(server.endpoint, "bucket", transport)
        assert [entry.key for entry in store.objects("a/", "a/1")] == ["a/2", "a/3"]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("given", "etag"),
    [
        pytest.param(b"<ETag>W/&quot;e&quot;</ETag>", "e", id="weak"),
        pytest.param(b"<ETag>e</ETag>", "e", id="without quotes"),
        pytest.param(b"", "", id="none"),
    ],
)
def test_etags_of_a_listing(transport: str, given: bytes, etag: str) -> None:
    page = page_of(["a/1"]).replace(b"<ETag>&quot;e&quot;</ETag>", given)
    with ScriptedS3([(200, page)]).running() as server:
        assert [entry.etag for entry in s3_store(server.endpoint, "bucket", transport).objects("a/")] == [etag]


@needs_boto3
def test_page_that_goes_on_and_does_not_say_how_is_not_the_last() -> None:
    """As what knows only the first version of listings answers."""
    whole = page_of(NAMES[:3], goes_on=True)
    start, end = whole.index(b"<NextContinuationToken>"), whole.index(b"</NextContinuationToken>")
    answer = whole[:start] + whole[end + len(b"</NextContinuationToken>") :]
    found = []
    with ScriptedS3([(200, answer)]).running() as server:
        store = s3_store(server.endpoint, "bucket", "boto3")
        with pytest.raises(StoreError, match=r"listing s3://bucket/a/: .* goes on, and not how; .*endpoint_url"):
            found.extend(entry.key for entry in store.objects("a/"))
        assert found == NAMES[:3]
        with pytest.raises(StoreError, match="and not how"):
            store.folders("a/")
