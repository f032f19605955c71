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
    assert list(needle_places(NEEDLES, before + text)) == [size + place for place in places]
    assert list(needle_places(NEEDLES, text + before)) == places


class Looked:
    """Stands for the pattern; remembers where it was asked."""

    def __init__(self) -> None:
        self.places: list[int] = []

    def match(self, data: bytes, place: int) -> None:
        del data
        self.places.append(place)


def test_nothing_but_escapes_is_looked_at_with_the_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked()
    monkeypatch.setattr(needles, "_HIDDEN", looked)
    token = b'{"sessionToken":"aa\\u003d\\u003d"}'
    assert list(needle_places(NEEDLES, token + b"." * SHORTEST_UNLOCKED)) == []
    assert looked.places == [19, 25]
