"""The table of facts and states (contract.md, section 2), cell by cell, by the core and by the SQL recount.

Each cell is two people: both live through what leads to the state of the column, then comes the fact of the row. Where
they are counted at the end of that day shows HOME and the rest; what the second one's emigration a month later is told
shows TRANSIT, OUT and DEAD apart: nothing, `already_out`, `after_death`. (NEW and OUT are told apart by no fact.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import Any, Final, NamedTuple

import pytest

from lampit import reference
from stream.rules import Rules
from tests.counters import Count, by_core, by_sql

# r is the region that the fact names, h another one. Of the states at home elsewhere:
#   HOME(h)       nothing is open
#   HOME(h), r    the person came from r without a departure: r is left unmatched
#   HOME(h), r'   the same, and one departure from r came late already: r still is left unmatched
#   HOME(h), -r   the person came from r without a departure, then left h and came back: r is not any more
# What the contract says of a register or birth that stays is not told of the one that stands.
TABLE: Final = """
fact              | NEW                 | HOME(r)                 | HOME(h)                    | HOME(h), r                 | HOME(h), r'                | HOME(h), -r                | TRANSIT             | OUT                 | MISSING             | DEAD
register          | HOME(r)             | stays                   | HOME(r)                    | HOME(r)                    | HOME(r)                    | HOME(r)                    | HOME(r)             | HOME(r)             | HOME(r)             | stays
birth             | HOME(r)             | stays                   | HOME(r)                    | HOME(r)                    | HOME(r)                    | HOME(r)                    | HOME(r)             | HOME(r)             | HOME(r)             | stays
move_in           | HOME(r)             | stays, already_resident | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r)             | HOME(r)             | HOME(r)             | stays, after_death
found             | HOME(r)             | stays, already_resident | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r), missing_move_out  | HOME(r)             | HOME(r)             | HOME(r)             | stays, after_death
move_out          | stays, already_out  | TRANSIT                 | TRANSIT, region_mismatch   | stays, late_move_out       | stays, late_move_out       | TRANSIT, region_mismatch   | stays, already_out  | stays, already_out  | stays, already_out  | stays, after_death
move_out to x     | stays, already_out  | TRANSIT                 | TRANSIT, region_mismatch   | stays, late_move_out       | stays, late_move_out       | TRANSIT, region_mismatch   | stays, already_out  | stays, already_out  | stays, already_out  | stays, after_death
move_out to h     | stays, already_out  | TRANSIT                 | stays, late_move_out       | stays, late_move_out       | stays, late_move_out       | stays, late_move_out       | stays, already_out  | stays, already_out  | stays, already_out  | stays, after_death
move_out to r     | stays, already_out  | TRANSIT                 | TRANSIT, region_mismatch   | stays, late_move_out       | stays, late_move_out       | TRANSIT, region_mismatch   | stays, already_out  | stays, already_out  | stays, already_out  | stays, after_death
move_out abroad   | stays, already_out  | OUT                     | OUT, region_mismatch       | stays, late_move_out       | stays, late_move_out       | OUT, region_mismatch       | OUT                 | stays, already_out  | stays, already_out  | stays, after_death
missing           | stays, already_out  | OUT                     | OUT, region_mismatch       | OUT, region_mismatch       | OUT, region_mismatch       | OUT, region_mismatch       | OUT                 | stays, already_out  | stays, already_out  | stays, after_death
death             | DEAD                | DEAD                    | DEAD, region_mismatch      | DEAD, region_mismatch      | DEAD, region_mismatch      | DEAD, region_mismatch      | DEAD                | DEAD                | DEAD                | stays, after_death
"""  # noqa: E501

WAYS: Final[dict[str, tuple[str, ...]]] = {
    "NEW": (),
    "HOME(r)": ("move_in r",),
    "HOME(h)": ("move_in h",),
    "HOME(h), r": ("move_in r", "move_in h"),
    "HOME(h), r'": ("move_in r", "move_in h", "move_out r"),
    "HOME(h), -r": ("move_in r", "move_in h", "move_out h", "move_in h"),
    "TRANSIT": ("move_in r", "move_out r"),
    "OUT": ("move_in r", "move_out r abroad"),
    "MISSING": ("move_in r", "missing r"),
    "DEAD": ("move_in r", "death r"),
}
"""The facts that lead to each state, one a month from January 2019 on."""

BEFORE, FACT, PROBE, ANCHOR = date(2019, 5, 31), date(2019, 6, 1), date(2019, 7, 1), date(2019, 12, 1)
ARRIVALS: Final = ("register", "birth", "move_in", "found")
TOLD_OF_AN_EMIGRATION: Final = {
    "HOME(r)": None, "TRANSIT": None, "NEW": "already_out", "OUT": "already_out", "MISSING": "already_out",
    "DEAD": "after_death",
}  # fmt: skip
"""By state, the anomaly of a removal abroad that names r; of those at home in h it depends on what is open."""

Json = dict[str, Any]


class Cell(NamedTuple):
    """One cell: what it says, and its people's places."""

    number: int
    fact: str
    state: str
    result: str
    anomaly: str | None
    r: str
    h: str
    x: str

    def __str__(self) -> str:
        return f"{self.fact} in {self.state}"

    @property
    def after(self) -> str:
        """The state after the fact."""
        return self.state if self.result == "stays" else self.result

    def place(self, state: str) -> str | None:
        """The village in which someone in that state is counted."""
        return {"HOME(r)": self.r, "HOME(h)": self.h}.get(state.partition(",")[0])


def cells() -> Iterator[Cell]:
    """The cells of the table, each with villages of its own."""
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines())
    villages = iter(sorted(code for code in reference.load().always if code.startswith("16.") and len(code) == 13))
    for row in rows:
        for state, said in zip(head[1:], row[1:], strict=True):
            result, _, anomaly = said.partition(", ")
            number = len(rows) * head.index(state) + rows.index(row)
            yield Cell(number, row[0], state, result, anomaly or None, next(villages), next(villages), next(villages))


CELLS: Final = tuple(cells())
each_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
each_counter = pytest.mark.parametrize("counter", [by_core, by_sql], ids=["core", "sql"])


def life(cell: Cell, probed: bool) -> Iterator[Json]:
    """The way to the state, the fact, the emigration asked for; where the fact gives no home, an entry after it all."""
    person = f"{cell.number:03}{int(probed)}"

    def event(words: str, on: date, name: str) -> Json:
        kind, region, *destination = words.split()
        data: Json = {"nik": f"160502010180{person}", "occurred_on": on.isoformat(), "region": getattr(cell, region)}
        if kind == "move_out" and destination:
            data["destination"] = getattr(cell, destination[-1], destination[-1])
        if kind == "birth":
            data["sex"] = "F"
        else:
            data["person"] = {"birth_date": "1990-01-01"}
        time = f"{on}T10:00:00+07:00"
        return {
            "specversion": "1.0", "id": f"{name}-{person}", "source": "/siak/1605", "type": f"lampit.{kind}.v1",
            "time": time, "data": data,
        }  # fmt: skip

    for month, words in enumerate(WAYS[cell.state], start=1):
        yield event(words, date(2019, month, 1), f"way-{month}")
    kind, *destination = cell.fact.split()
    yield event(" ".join((kind, "r", *destination)), FACT, "fact")
    if probed:
        yield event("move_out r abroad", PROBE, "probe")
    if cell.state == "NEW" and kind not in ARRIVALS:
        yield event("register r", ANCHOR, "anchor")


@cache
def counted(counter: Callable[..., list[Count]], day: date) -> Count:
    """All cells counted together: no two have a village in common."""
    events = [event for cell in CELLS for probed in (False, True) for event in life(cell, probed)]
    (count,) = counter(events, Rules(), [day])
    assert not count.rejected
    return count


def people(count: Count, region: str) -> int:
    """How many are counted there."""
    record = count.regions.get(region)
    return record["population"]["total"] if record else 0


def told(count: Count, name: str) -> list[str]:
    """The anomalies of one event."""
    return [kind for _, event, kind in count.anomalies if event == name]


@each_counter
@each_cell
def test_the_fact_is_told_what_the_table_says(cell: Cell, counter: Callable[..., list[Count]]) -> None:
    count = counted(counter, FACT)
    assert told(count, f"fact-{cell.number:03}0") == ([cell.anomaly] if cell.anomaly else [])


@each_counter
@each_cell
def test_the_person_is_counted_where_the_table_says(cell: Cell, counter: Callable[..., list[Count]]) -> None:
    for day, state in ((BEFORE, cell.state), (FACT, cell.after)):
        count = counted(counter, day)
        home = cell.place(state)
        assert [village for village in (cell.r, cell.h, cell.x) if people(count, village)] == ([home] if home else [])
        assert home is None or people(count, home) == 2


@each_counter
@each_cell
def test_the_person_goes_on_from_the_state_the_table_says(cell: Cell, counter: Callable[..., list[Count]]) -> None:
    if cell.after.startswith("HOME(h)"):
        late = cell.after in ("HOME(h), r", "HOME(h), r'")
        expected: str | None = "late_move_out" if late else "region_mismatch"
    else:
        expected = TOLD_OF_AN_EMIGRATION[cell.after]
    assert told(counted(counter, FACT), f"probe-{cell.number:03}1") == ([expected] if expected else [])


@each_counter
def test_those_in_transit_are_the_cells_that_say_so(counter: Callable[..., list[Count]]) -> None:
    for day, states in ((BEFORE, [cell.state for cell in CELLS]), (FACT, [cell.after for cell in CELLS])):
        assert people(counted(counter, day), "ID-transit") == 2 * states.count("TRANSIT")


def test_the_table_is_whole() -> None:
    assert len(CELLS) == 11 * len(WAYS)
    assert len({village for cell in CELLS for village in (cell.r, cell.h, cell.x)}) == 3 * len(CELLS)
