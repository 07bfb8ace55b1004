"""A packed change is the change, whatever is in it, and the same bytes whenever it is the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream import flow_tally, tally
from stream.contribution import Change
from stream.packed import pack, unpack

COUNTERS = st.integers(-(2**63) + 1, 2**62) | st.integers(-3, 3)


def tallies(lanes: int) -> st.SearchStrategy[int]:
    """Tallies of so many counters, most of them zero."""
    counters = st.dictionaries(st.integers(0, lanes - 1), COUNTERS, max_size=lanes)
    return counters.map(lambda found: tally.pack([found.get(lane, 0) for lane in range(lanes)]))


STOCKS, FLOWS = tallies(tally.LANES), tallies(flow_tally.LANES)


@given(STOCKS, STOCKS, FLOWS, FLOWS)
def test_a_change_comes_back_as_it_was(first: int, second: int, third: int, fourth: int) -> None:
    change = Change(first, second, third, fourth)
    assert unpack(pack(change)) == change


def test_a_change_of_one_person_takes_a_few_bytes() -> None:
    moved_in = tally.UNITS[1][tally.POPULATION | tally.OBLIGED | tally.RECORDED]
    assert len(pack(Change())) == 1
    assert len(pack(Change(moved_in, moved_in, flow_tally.UNITS[1][4], flow_tally.UNITS[1][4]))) <= 24
