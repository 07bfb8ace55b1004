"""What is kept between two scrapes never shows: a scrape is that of gauges made for it alone."""

from __future__ import annotations

import random
from typing import Any

from agents.figures import CHOICES_MAX, Figures
from agents.view import View
from stream.regions import level, lineage

VILLAGES = [f"16.05.{district:02}.20{village:02}" for district in range(1, 4) for village in range(1, 4)]
LEVELS = frozenset({"country", "province", "regency", "district"})


def record(region: str, number: int) -> dict[str, Any]:
    """A coverage record, as far as gauges go."""
    counts = {measure: {"total": number} for measure in ("population", "obliged", "recorded", "recorded_early")}
    return {
        "region": region,
        "level": level(region),
        "name": f"Name {number}",
        "coverage": number / 7,
        "opening": "register",
        **counts,
    }


def test_kept_lines_are_those_of_now() -> None:
    """Regions change, come, and go when another process takes over."""
    chance = random.Random(1)
    view = View()
    figures = Figures(view)
    seen = set()
    for number in range(60):
        if number % 20 == 19:
            view.clear()
        village = chance.choice(VILLAGES)
        view.update(record(code, number) for code in lineage(village))
        for levels, within in ((LEVELS, None), (frozenset({"village"}), "16"), (frozenset({"village"}), "16.05.02")):
            text = figures.text(levels, within)
            assert text == Figures(view).text(levels, within)
            seen.add(text)
        assert f'region="{village[:8]}"}} {number}\n'.encode() in figures.text(LEVELS)
    assert len(seen) > 60


def test_a_region_that_ended_is_in_no_scrape_though_none_came_with_it() -> None:
    """A code that merges into one that was there already. Before, every scrape failed from then on."""
    view = View()
    figures = Figures(view)
    view.update(record(code, 1) for code in ("16.05", "16.05.02", "16.05.03"))
    assert b'region="16.05.02"' in figures.text(LEVELS)
    view.update([record("16.05.02", 0), record("16.05.03", 2)], lambda code: code == "16.05.02")
    text = figures.text(LEVELS)
    assert b'region="16.05.02"' not in text and b'region="16.05.03"} 2' in text
    assert text == Figures(view).text(LEVELS)


def test_what_is_kept_is_bounded() -> None:
    """Whoever asks for regions that are not there makes nothing grow."""
    view = View()
    view.update([record("16.05", 1)])
    figures = Figures(view)
    for number in range(3 * CHOICES_MAX):
        figures.text(LEVELS, f"{number:02}")
    assert len(figures._chosen) <= CHOICES_MAX
