"""The roll-up over a change day: what it gives out, live and after a takeover, to a subscriber of the latest records."""

from __future__ import annotations

from datetime import date

from agents.view import View
from lampit import reference
from stream import coverage
from stream.opening_figures import BalancePart
from stream.regions import TRANSIT
from stream.rollup import Partial, Rollup
from stream.tally import OBLIGED, POPULATION, UNITS

BEFORE, AFTER = date(2022, 11, 8).toordinal(), date(2022, 11, 9).toordinal()
WOMAN = UNITS[1][POPULATION | OBLIGED]
MERAUKE = "91.01.01.1003"


def rollup(parts: dict[str, Partial]) -> Rollup:
    made = Rollup(places=reference.load().places)
    for place, part in {TRANSIT: Partial(), **parts}.items():
        made.apply(0, place, part)
    return made


def given_out(made: Rollup, day: int) -> dict[str, tuple[int | None, str | None]]:
    """Population and name of each region given out."""
    names = coverage.Names(reference.load(), day)
    records = [coverage.record(code, figure, names) for code, figure in made.take_changed(day)]
    return {record["region"]: (record["population"]["total"], record["name"]) for record in records}


def test_on_a_change_day_the_old_code_is_given_out_empty_and_once() -> None:
    made = rollup({MERAUKE: Partial(2 * WOMAN)})
    assert given_out(made, BEFORE)["91.01"] == (2, "Kabupaten Merauke")
    turned = given_out(made, AFTER)
    assert turned["91.01"] == (0, "Kabupaten Merauke")
    assert turned["91"][0] == 0
    assert turned["93"] == (2, "Papua Selatan")
    assert turned["93.01.01.1003"] == (2, "Karang Indah")
    assert turned["ID"] == (2, "Indonesia")
    assert [made.has_ended(code) for code in ("91.01", "91", "93", "ID")] == [True, True, False, False]
    assert given_out(made, AFTER) == {}


def test_the_page_has_no_codes_that_ended() -> None:
    made, view, read = rollup({MERAUKE: Partial(WOMAN)}), View(), reference.load()
    for day, provinces in ((BEFORE, ["91", "ID-transit"]), (AFTER, ["93", "ID-transit"])):
        names = coverage.Names(read, day)
        view.update([coverage.record(code, figure, names) for code, figure in made.take_changed(day)], made.has_ended)
        assert [record["region"] for record in view.children("ID")] == provinces
        assert ("91.01" in view.records) == (day == BEFORE)


def test_what_arrives_after_the_change_goes_to_the_new_code() -> None:
    made = rollup({MERAUKE: Partial(WOMAN)})
    given_out(made, AFTER)
    made.apply(1, MERAUKE, Partial(WOMAN))
    made.apply(0, "93.01.01.1003", Partial(WOMAN))
    assert given_out(made, AFTER)["93.01.01.1003"] == (3, "Karang Indah")


def test_after_a_takeover_ended_codes_are_given_out_empty() -> None:
    """The one before may have stopped between the day's turn and its publication."""
    made = rollup({MERAUKE: Partial(WOMAN)})
    made.all_dirty()
    expected = {"91.01.01.1003": 0, "91.01.01": 0, "91.01": 0, "91": 0, "93": 1}
    found = {code: population for code, (population, _) in given_out(made, AFTER).items() if code in expected}
    assert found == expected


def test_a_balance_that_the_next_of_its_place_ends_is_gone() -> None:
    """Merauke's totals under 93.01 end those under 91.01, which then say nothing at all, in every partition."""
    old, new = (
        BalancePart(day, True, (("population", count),)) for day, count in ((AFTER, 230_000), (AFTER + 9, 240_000))
    )
    made = rollup({"91.01": Partial(0, 0, old), "93.01": Partial(0, 0, BalancePart(AFTER + 9, False))})
    assert given_out(made, AFTER)["93.01"] == (230_000, "Kabupaten Merauke")
    made.apply(0, "91.01", Partial())
    made.apply(0, "93.01", Partial(0, 0, new))
    assert given_out(made, AFTER + 9)["93.01"] == (240_000, "Kabupaten Merauke")
    assert given_out(made, AFTER + 9) == {}
