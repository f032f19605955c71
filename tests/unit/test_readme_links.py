"""The pages for people: what they link to is there, and is named where a link does not lead to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.engines import REPOSITORY

PACKAGE = REPOSITORY / "airflow_provider_cloudtrail"
README = REPOSITORY / "README.md"
PAGES = (README, PACKAGE / "mwaa" / "README.md", PACKAGE / "warehouse" / "README.md")
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")

LINK = re.compile(r"\[((?:[^\[\]]|\[\])*)\]\(([^()\s]+)\)")


def text_of(page: Path) -> str:
    """Return a page without its blocks of code, in which `#` is a comment."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[tuple[str, str]]:
    return LINK.findall(text_of(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosts of repositories and package indexes make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for _, target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert there.is_relative_to(REPOSITORY), target
        assert not anchor or anchor in anchors(there), target


def test_every_heading_has_an_anchor_of_its_own() -> None:
    for page in PAGES:
        assert len(anchors(page)) == len(re.findall(r"^#+ ", text_of(page), re.MULTILINE)), page


def test_links_to_files_are_named_for_readers_of_a_package_index() -> None:
    # There a link to a file of the repository leads nowhere, and its text must say which file is meant.
    for text, target in links(README):
        path = target.partition("#")[0]
        named = path if path.endswith("README.md") else Path(path).name
        assert named in text, f"[{text}]({target})"
