from __future__ import annotations

import json
from itertools import islice, product
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.scrub import TOLD_BY_AWS, may_need_scrubbing, scrub

TOKEN = "gAAAA-a-token-that-was-written-down"


@pytest.mark.parametrize(
    ("record", "cleaned", "count"),
    [
        pytest.param({"a": {"CliToken": TOKEN}}, {"a": {"CliToken": "***"}}, 1, id="CliToken"),
        pytest.param({"WebToken": TOKEN}, {"WebToken": "***"}, 1, id="WebToken"),
        pytest.param({"webtoken": TOKEN}, {"webtoken": "***"}, 1, id="other case"),
        pytest.param(
            {"CliToken": "1", "a": [], "WebToken": "2", "b": {"CliToken": "3"}},
            {"CliToken": "***", "a": [], "WebToken": "***", "b": {"CliToken": "***"}},
            3,
            id="several in one object",
        ),
        pytest.param(
            {"RestApiResponse": {"dags": [1]}, "x": [{"RestApiResponse": "text"}]},
            {"RestApiResponse": "***", "x": [{"RestApiResponse": "***"}]},
            2,
            id="answers of the REST API",
        ),
        pytest.param({"CliTo\u212aen": "a"}, {"CliTo\u212aen": "a"}, 0, id="a letter that becomes another"),
        pytest.param({"CliToken": "***"}, {"CliToken": "***"}, 0, id="masked already"),
        pytest.param({"CliToken": None, "WebToken": ""}, {"CliToken": None, "WebToken": ""}, 0, id="nothing there"),
        pytest.param({"CliToken": 7, "x": False}, {"CliToken": "***", "x": False}, 1, id="a number"),
        pytest.param(
            {"responseElements": {"CliToken": TOKEN}, "m": f"got {TOKEN}, thanks", TOKEN: [TOKEN]},
            {"responseElements": {"CliToken": "***"}, "m": "got ***, thanks", "***": ["***"]},
            1,
            id="the same text elsewhere, also as a name",
        ),
        pytest.param(
            {"requestParameters": {"weBTokeN": TOKEN, "m": TOKEN}},
            {"requestParameters": {"weBTokeN": "***", "m": "***"}},
            1,
            id="of a parameter",
        ),
        pytest.param(
            {"requestParameters": {"Tags": {"CliToken": TOKEN}, "m": TOKEN}},
            {"requestParameters": {"Tags": {"CliToken": "***"}, "m": TOKEN}},
            1,
            id="not of a member that others have named",
        ),
        pytest.param(
            {"responseElements": {"CliToken": "dag"}, "m": "a dag"},
            {"responseElements": {"CliToken": "***"}, "m": "a dag"},
            1,
            id="short text stays",
        ),
        pytest.param(
            {"responseElements": {"CliToken": "a" * 15, "WebToken": "b" * 16}, "m": ["a" * 15, "b" * 16]},
            {"responseElements": {"CliToken": "***", "WebToken": "***"}, "m": ["a" * 15, "***"]},
            2,
            id="shortest text that goes",
        ),
        pytest.param(
            {"eventName": "InvokeRestApi", "requestParameters": {"Body": {"conf": 1}, "Path": "/x"}},
            {"eventName": "InvokeRestApi", "requestParameters": {"Body": "***", "Path": "/x"}},
            1,
            id="body of a REST call",
        ),
        pytest.param({"eventName": "SendEmail", "Body": "x"}, {"eventName": "SendEmail", "Body": "x"}, 0, id="other body"),  # noqa: E501
        pytest.param({"a": "x\0y", "b\0": ["\0"]}, {"a": "xy", "b": [""]}, 0, id="NUL"),
        pytest.param({"a": "x\ud83dy\udf0a"}, {"a": "x\ufffdy\ufffd"}, 0, id="halves of surrogate pairs"),
        pytest.param({"a": 1, "a\0": 2}, {"a": 1, "a\ufffd2": 2}, 0, id="names that become one"),
        pytest.param({"a": 1, "a\0": 2, "\0a": 3}, {"a": 1, "a\ufffd2": 2, "a\ufffd3": 3}, 0, id="three of them"),
        pytest.param(
            {"a": 1, "a\ufffd2": 2, "a\0": 3}, {"a": 1, "a\ufffd2": 2, "a\ufffd3": 3}, 0, id="one that is there already"
        ),
        pytest.param(
            {"responseElements": {"CliToken": "a" * 16, "WebToken": "a" * 16 + "b"}, "m": "a" * 16 + "b"},
            {"responseElements": {"CliToken": "***", "WebToken": "***"}, "m": "***"},
            2,
            id="a secret within another",
        ),
        pytest.param([1, "x", None], [1, "x", None], 0, id="a list"),
        pytest.param("x\0", "x", 0, id="text"),
        pytest.param(None, None, 0, id="null"),
    ],
)  # fmt: skip
def test_scrub(record: Any, cleaned: Any, count: int) -> None:
    before = json.dumps(record)
    assert scrub(record) == (cleaned, count)
    assert json.dumps(record) == before
    if record != cleaned:
        assert may_need_scrubbing(before.encode())


@pytest.mark.parametrize(
    ("raw", "may"),
    [
        pytest.param(b'{"a":"b"}', False, id="plain"),
        pytest.param(b'{"a":"b\\n"}', False, id="other escape"),
        pytest.param(b'{"Cli\\u0054oken":"b"}', True, id="name in escapes"),
        pytest.param(b'{"a":"\\u0000"}', True, id="NUL"),
        pytest.param(b'{"a":"\\ud83d"}', True, id="half a surrogate pair"),
        pytest.param(
            b'{"sessionToken":"b\\u003d\\u003d","url":"?a\\u003d1\\u0026b"}', False, id="escapes in tokens and URLs"
        ),
        pytest.param(b'{"a":"b\\u003d","\\u0043liToken":"b"}', True, id="name in escapes behind such a one"),
        pytest.param(b'{"CLITOKEN":"b"}', True, id="upper case"),
        pytest.param(b'{"eventName":"InvokeRestApi"}', False, id="REST call"),
        pytest.param(b'{"eventName":"InvokeRestApi","Body":"b"}', True, id="REST call with a body"),
        pytest.param(b'{"eventName":"InvokeRestApi","Body" :"***"}', True, id="body with a space behind its name"),
        pytest.param(b'{"eventName":"InvokeRestApi","Body":"***b"}', True, id="body that begins as a mask does"),
        pytest.param(b'{"eventName":"InvokeRestApi","Body":"***","body":"b"}', True, id="masked, and one that is not"),
        pytest.param(b'{"eventName":"InvokeRestApi","\\u0042ody":"b"}', True, id="body in escapes"),
        pytest.param(
            b'{"eventName":"InvokeRestApi","Body":"***","RestApiResponse":"***"}', False, id="masked by AWS itself"
        ),
        pytest.param(b'{"RestApiResponse":{"Body":"***"}}', True, id="answer that is no text"),
        pytest.param(b'{"eventName":"SendEmail","Body":"b"}', False, id="body of another call"),
        pytest.param(b'{"nextToken":"b"}', False, id="other token"),
        pytest.param(b'{"m":"somebody"}', False, id="a word with body"),
    ],
)
def test_records_that_are_scrubbed_at_all(raw: bytes, may: bool) -> None:
    assert may_need_scrubbing(raw) is may


def test_names_that_become_one_get_no_longer_with_their_number() -> None:
    names = 4_000
    halves = [f"{chr(0xDC00 + index // 1024)}{chr(0xD800 + index % 1024)}" for index in range(names)]
    cleaned, _ = scrub({half: index for index, half in enumerate(halves)})
    assert list(cleaned.values()) == list(range(names))
    assert max(map(len, cleaned)) <= len("\ufffd\ufffd") + len(f"\ufffd{names}")


@pytest.mark.parametrize("name", sorted(TOLD_BY_AWS))
def test_what_aws_tells_of_a_call_is_left(name: str) -> None:
    secret = {"responseElements": {"WebToken": TOKEN}}
    told = {name: [TOKEN, {"CliToken": "another", "a": TOKEN}]}
    assert scrub({**secret, **told, "userAgent": TOKEN}) == (
        {"responseElements": {"WebToken": "***"}, name: [TOKEN, {"CliToken": "***", "a": TOKEN}], "userAgent": "***"},
        2,
    )


class _Text(str):
    """Counts how often anything is looked for in it."""

    searches = 0

    def __contains__(self, other: str) -> bool:
        self.searches += 1
        return super().__contains__(other)


def _secrets(number: int) -> dict[str, str]:
    """Return so many secrets that stand where they are looked for: their names differ in case."""
    spellings = (
        "".join(letters) for letters in product(*(f"{letter}{letter.upper()}" for letter in "restapiresponse"))
    )
    return {name: f"{index:08d}{TOKEN}" for index, name in enumerate(islice(spellings, number))}


@pytest.mark.parametrize("number", [100, 1_000])
def test_a_text_is_not_searched_for_each_of_very_many_secrets(number: int) -> None:
    text = _Text("no secret")
    scrub({"responseElements": _secrets(number), "m": text})
    assert text.searches < 100


@pytest.mark.parametrize("number", [4, 5, 1_000])
def test_none_of_very_many_secrets_is_left_elsewhere(number: int) -> None:
    secrets = _secrets(number)
    first, *_, last = secrets.values()
    found, count = scrub({
        "responseElements": secrets,
        "m": ["of no secret", first, f"got {last}", last[:15]],
        last: 1,
    })
    whole = ["***", "got ***"] if number <= 4 else ["***", "***"]
    assert found == {
        "responseElements": dict.fromkeys(secrets, "***"),
        "m": ["of no secret", *whole, last[:15]],
        "***": 1,
    }
    assert count == number


def test_the_same_secret_many_times_is_one() -> None:
    found, count = scrub({"responseElements": dict.fromkeys(_secrets(1_000), TOKEN), "m": f"got {TOKEN}"})
    assert found["m"] == "got ***"
    assert count == 1_000
