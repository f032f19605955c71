from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.trail import needles
from airflow_provider_cloudtrail.trail.needles import needle_places
from airflow_provider_cloudtrail.trail.search import SHORTEST_FOR_C, SHORTEST_UNLOCKED

NEEDLES = (b"airflow-serverless.amazonaws.com", b"airflow.amazonaws.com")


@pytest.mark.parametrize("size", [0, SHORTEST_FOR_C, SHORTEST_UNLOCKED])
@pytest.mark.parametrize(
    ("text", "places"),
    [
        pytest.param(b"airflow.amazonaws.com", [0], id="needle"),
        pytest.param(b'{\\"Action\\": \\"s3:*\\",\\n}', [], id="policy"),
        pytest.param(b"\\u003c\\u0026\\u002f\\u00e9\\u1061", [], id="escapes of what no name holds"),
        pytest.param(b"\\u003c\\u0061irflow\\u002eamazonaws.com", [6, 18], id="escapes that hide a name"),
        pytest.param(b"\x00\\u0061", [1], id="behind NUL"),
    ],
)
def test_needle_places(text: bytes, places: list[int], size: int) -> None:
    before = b"." * size
    assert sorted(needle_places(NEEDLES, before + text)) == [size + place for place in places]
    assert sorted(needle_places(NEEDLES, text + before)) == places


@pytest.mark.parametrize(
    ("needle", "text", "places"),
    [
        pytest.param(b"s3.amazonaws.com", b"s\\u0033.amazonaws.com", [1], id="digit"),
        pytest.param(b"AmazonMWAA-airflow", b"\\u0041mazonMWAA-airflow", [0], id="upper case"),
        pytest.param(b"AmazonMWAA-airflow", b"AmazonM\\u0057AA\\u002Dairflow", [7, 15], id="of two kinds"),
        pytest.param(b"airflow.amazonaws.com", b"\\u0041irflow.amazonaws.com", [], id="letter that it does not have"),
    ],
)
def test_escapes_of_the_characters_of_a_needle_are_found(needle: bytes, text: bytes, places: list[int]) -> None:
    assert sorted(needle_places((needle,), text)) == places


class Looked:
    """Stands for the pattern; remembers where it was asked."""

    def __init__(self) -> None:
        self.places: list[int] = []

    def match(self, data: bytes, place: int) -> None:
        del data
        self.places.append(place)


def test_escapes_of_tokens_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked()
    monkeypatch.setattr(needles, "_HIDDEN", looked)
    token = b'{"sessionToken":"aa\\u003d\\u003d","url":"\\u0026"}'
    assert list(needle_places(NEEDLES, token + b"." * SHORTEST_UNLOCKED)) == []
    assert looked.places == [token.index(b"\\u0026")]
