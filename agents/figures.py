"""The gauges of regions at /metrics, served as ready lines.

In: the view of the roll-up. Out: a prometheus-client collector's text. 7,837 regions × 6 series take prometheus-client
hundreds of milliseconds to render; here a region's lines are written when it changes, and a scrape joins them. Which regions
a scrape is of is looked up when a region has come or gone: of 91,600 the levels asked for are few.
"""

from __future__ import annotations

from typing import Any, Final

from agents.view import View
from stream.regions import parent

GAUGES: Final = {
    "lampit_population": "People counted in the region.",
    "lampit_obliged": "People obliged to hold an e-KTP (wajib KTP).",
    "lampit_recorded": "Obliged people whose e-KTP is recorded.",
    "lampit_recorded_early": "People recorded before they are obliged.",
    "lampit_coverage_ratio": "Recorded over obliged; over 1 is possible. Absent when nobody is obliged.",
    "lampit_region_info": "Region codes, their names, the regions above and what the figures rest on; always 1.",
}

CHOICES_MAX: Final = 64
"""Of levels and regions asked for; every province is one."""


class Figures:
    """The lines of the regions of some levels, kept up to date with a view."""

    def __init__(self, view: View) -> None:
        """Over one view."""
        self._view = view
        self._lines: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._chosen: dict[tuple[frozenset[str], str | None], tuple[int, list[str]]] = {}

    def text(self, levels: frozenset[str], within: str | None = None) -> bytes:
        """The exposition text of all regions of the levels, or of those inside one region."""
        chosen = [self._of_region(code) for code in self._codes(levels, within)]
        parts: list[str] = []
        for number, (name, explanation) in enumerate(GAUGES.items()):
            parts.append(f"# HELP {name} {explanation}\n# TYPE {name} gauge\n")
            parts += [lines[number] for lines in chosen]
        return "".join(parts).encode()

    def _codes(self, levels: frozenset[str], within: str | None) -> list[str]:
        """The regions asked for, sorted."""
        shape, codes = self._chosen.get((levels, within), (-1, []))
        if shape != self._view.shape:
            codes = sorted(
                code
                for code, record in self._view.records.items()
                if record["level"] in levels and (within is None or code.startswith(f"{within}."))
            )
            if len(self._chosen) >= CHOICES_MAX:
                self._chosen.clear()
            self._chosen[levels, within] = (self._view.shape, codes)
        return codes

    def _of_region(self, code: str) -> tuple[str, ...]:
        version = self._view.changed_at[code]
        kept = self._lines.get(code)
        if kept is None or kept[0] != version:
            kept = (version, _lines(code, self._view.records[code]))
            self._lines[code] = kept
        return kept[1]


def _lines(code: str, record: dict[str, Any]) -> tuple[str, ...]:
    """The line of each of GAUGES, in their order; empty where there is nothing to say."""
    labels = f'{{level="{record["level"]}",region="{code}"}}'
    lines = []
    for measure in ("population", "obliged", "recorded", "recorded_early"):
        total = record[measure]["total"]
        lines.append("" if total is None else f"lampit_{measure}{labels} {total}\n")
    ratio = record["coverage"]
    lines.append("" if ratio is None else f"lampit_coverage_ratio{labels} {ratio!r}\n")
    name = (record["name"] or "").replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    lines.append(
        f'lampit_region_info{{level="{record["level"]}",name="{name}",opening="{record["opening"]}",'
        f'parent="{parent(code) or ""}",region="{code}"}} 1\n'
    )
    return tuple(lines)
