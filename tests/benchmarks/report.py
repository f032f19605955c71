"""One table from the figures of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.benchmarks.runner import Figures

MIB = 1024 * 1024
HEAD = (
    "contestant",
    "seconds",
    "shortest to longest",
    "rate",
    "speed / floor",
    "CPU seconds",
    "floor / CPU",
    "peak MiB above start",
    "found",
)


def section(title: str, figures: Sequence[Figures], amount: float, unit: str, floor: str | None) -> Iterator[str]:
    """
    Yield the rows of one corpus.

    :param amount: how much the whole corpus is, in ``unit``.
    :param floor: contestant that the ratios refer to; None: the first.
    """
    if not figures:
        return
    base = next((one for one in figures if one.contestant.name == floor), figures[0])
    yield row(f"**{title}**", *[""] * (len(HEAD) - 1))
    for one in figures:
        share = f" ({one.contestant.share:.0%} of the files, scaled up)" if one.contestant.share < 1 else ""
        found = one.result.get("rows", one.result.get("bytes", ""))
        requests = ", ".join(f"{number} {method}" for method, number in sorted(one.requests.items()))
        yield row(
            one.contestant.name + share,
            f"{one.seconds:.2f}",
            f"{one.spread[0]:.2f} to {one.spread[1]:.2f}",
            f"{amount / one.seconds:,.0f} {unit}/s",
            f"{base.seconds / one.seconds:.2f}",
            f"{one.cpu:.2f}",
            f"{base.cpu / one.cpu:.2f}",
            f"{one.above / MIB:.0f}",
            f"{found}{' rows' if 'rows' in one.result else ' bytes'}{f'; {requests}' if requests else ''}",
        )


def head() -> Iterator[str]:
    """Yield the head of the table."""
    yield row(*HEAD)
    yield row(*["---"] * len(HEAD))


def row(*cells: object) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"
