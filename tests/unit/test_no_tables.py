"""No agent keeps its state in a Faust table or takes its events by `take`: Faust cannot do both (docs/decisions/0014)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import agents

TABLES = {"Table", "GlobalTable", "SetTable", "SetGlobalTable"}


def of_faust(source: str) -> set[str]:
    """What a source takes of a Faust stream by its own methods, and the tables it makes of an app."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if owner == "stream" or (owner in ("app", "faust") and node.attr in TABLES):
                found.add(f"{owner}.{node.attr}")
    return found


@pytest.mark.parametrize(
    "source",
    ["async for some in stream.take(5, within=1): pass", "people = self.app.Table('people')", "faust.Table()"],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert of_faust(source)


def test_agents_read_streams_by_fetches_alone_and_have_no_tables() -> None:
    sources = {path.name: path.read_text() for path in Path(agents.__path__[0]).glob("*.py")}
    readers = {name: text for name, text in sources.items() if "fetches(" in text or "faust" in text}
    assert sum("in fetches(stream)" in text for text in readers.values()) >= 4
    found = {name: names for name, text in readers.items() if (names := of_faust(text))}
    assert found == {"driver.py": {"stream.noack"}}
