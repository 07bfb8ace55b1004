"""What the page shows of a region, as one JSON document: its figures, the way to it, the regions below.

In: the view of the roll-up. Out: plain dictionaries. Called by `lampit.web`. Percentages are texts made here from the
counts (two decimals, half up), so that every reader shows the same; a figure nobody states is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from agents.errors import ConfigurationError
from agents.view import View
from stream.coverage import percent
from stream.regions import lineage
from stream.tally import MEASURES

Document = dict[str, Any]

_FIGURES: Final = (*MEASURES, "unrecorded")
NOTES_FILE: Final = "page-notes.json"


@dataclass(frozen=True)
class Note:
    """A word for the region's row in a table, and a sentence for its own page."""

    label: str
    text: str


@dataclass(frozen=True)
class Notes:
    """What the operator puts on the page: a sentence for all of it, and notes on regions."""

    notice: str | None = None
    regions: Mapping[str, Note] = field(default_factory=dict)

    @classmethod
    def read(cls, data_dir: Path) -> Self:
        """Those of the file `page-notes.json` in the data folder: {"notice": …, "regions": {code: {label, text}}}."""
        file = data_dir / NOTES_FILE
        if not file.exists():
            return cls()
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{NOTES_FILE} in LAMPIT_DATA_DIR cannot be read: make it a JSON object with notice and regions, in "
                "UTF-8, or remove it."
            ) from error


def of_region(view: View, region: str, notes: Notes) -> Document | None:
    """The document of a region; None while nothing is counted there."""
    record = view.records.get(region)
    if record is None:
        return None
    children = view.children(region)
    above = [view.records[code] for code in reversed(lineage(region)) if code in view.records]
    return {
        "as_of": record["as_of"],
        "version": view.changed_at[region],
        "region": _entry(record, notes),
        "path": [{key: one[key] for key in ("region", "name", "level")} for one in above],
        "children": [_entry(child, notes) for child in children],
        "own": _own(record, children) if children else None,
    }


def _entry(record: Mapping[str, Any], notes: Notes) -> Document:
    """The coverage record with its percentage as people read it."""
    kept = {key: value for key, value in record.items() if key not in {"epoch", "position"}}
    shown = None if record["coverage"] is None else percent(record["recorded"]["total"], record["obliged"]["total"])
    return {**kept, "percent": shown, "note": notes.regions.get(record["region"])}


def _own(record: Mapping[str, Any], children: Iterable[Mapping[str, Any]]) -> Document | None:
    """What a region counts beside the regions below: those of its balance who are in no event yet. None: nothing."""
    # A region whose first balance is still to come is left out of the sum above it.
    counted = [child for child in children if child["opening"] != "none"]
    totals = {name: _less(record[name]["total"], [child[name]["total"] for child in counted]) for name in _FIGURES}
    if not any(totals.values()):
        return None
    # Where the regions below say more than the one above, the difference is less than nobody: of those is no percentage.
    has_any = (totals["obliged"] or 0) > 0
    return {**totals, "percent": percent(totals["recorded"], totals["obliged"]) if has_any else None}


def _less(total: int | None, parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return None if total is None or len(known) < len(parts) else total - sum(known)
