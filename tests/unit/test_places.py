"""What codes mean on a day: a made-up reference for what no decree did yet, then the whole one that ships."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from lampit import reference
from stream.places import Places
from stream.reference import Reference
from stream.regions import Change, parent

FIRST, SECOND, THIRD = (date(year, 1, 1).toordinal() for year in (2020, 2021, 2022))
BEFORE = FIRST - 1
DECREES = tuple(
    date.fromisoformat(day) for day in ("2019-10-08", "2020-12-21", "2022-02-14", "2022-11-09", "2025-04-25")
)


def reused() -> Reference:
    """Desa 2001 is struck off, a year later its code is given to another; 2002 goes to another kecamatan that is new."""
    names = {
        "11": "A",
        "11.01": "B",
        "11.01.01": "C",
        "11.01.02": "D",
        "11.01.01.2001": "Second",
        "11.01.02.2001": "Moved",
    }
    changes = [
        Change(FIRST, "retired", "11.01.01.2001", None, "First"),
        Change(SECOND, "new", None, "11.01.01.2001"),
        Change(THIRD, "split", "11.01.01", "11.01.02", "C"),
        Change(THIRD, "move", "11.01.01.2002", "11.01.02.2001", "Moved"),
    ]
    return Reference(names, changes)


def test_a_code_used_again_is_another_place() -> None:
    places = reused().places
    first, second = places.at("11.01.01.2001", BEFORE), places.at("11.01.01.2001", SECOND)
    assert (first, second) == ("11.01.01.2001", "11.01.01.2001~2021-01-01")
    assert places.at("11.01.01.2001", FIRST) == first, "between the two it is the one that had it last"
    assert not places.same(first, second, SECOND)
    assert places.code(first, FIRST) == "11.01.01.2001"
    assert places.code(first, SECOND) == "11.01.01", "its code is another's: in the kecamatan, in no desa"
    assert places.code(second, SECOND) == "11.01.01.2001"
    assert places.code(second, FIRST) == "11.01.01", "not yet begun while the code still reads as the other"


def test_a_place_that_moved_is_one_place() -> None:
    places = reused().places
    old, new = places.at("11.01.01.2002", BEFORE), places.at("11.01.02.2001", BEFORE)
    assert all(places.same(old, new, day) for day in (BEFORE, FIRST, THIRD))
    assert {places.code(old, THIRD), places.code(new, THIRD)} == {"11.01.02.2001"}
    assert {places.code(old, BEFORE), places.code(new, BEFORE)} == {"11.01.01.2002"}
    assert places.inside(new, "11.01.01", BEFORE)
    assert not places.inside(new, "11.01.01", THIRD)


def test_a_split_moves_nobody() -> None:
    places = reused().places
    assert places.code("11.01.01", THIRD) == "11.01.01"
    assert not places.same("11.01.01", "11.01.02", THIRD)
    assert places.code("11.01.02", BEFORE) == "11.01.02"


def test_codes_are_known_while_they_are_in_force() -> None:
    read = reused()
    assert [read.known("11.01.01.2001", day) for day in (BEFORE, FIRST, SECOND)] == [True, False, True]
    assert [read.known("11.01.02.2001", day) for day in (BEFORE, THIRD)] == [False, True]
    assert [read.known("11.01.01.2002", day) for day in (BEFORE, THIRD)] == [True, False]
    assert read.known("11.01.01", THIRD)
    assert not read.known("11.01.01.2999", THIRD)


def test_names_are_those_of_the_day() -> None:
    read = reused()
    assert [read.name("11.01.01.2001", day) for day in (BEFORE, FIRST)] == ["First", "Second"]
    assert read.name("11.01.01.2002", THIRD) == "Moved", "the last it had"
    assert read.name("11.01.01.2999", THIRD) is None


@pytest.fixture(scope="module")
def whole() -> Reference:
    return reference.load()


def codes(read: Reference, day: date) -> set[str]:
    """Every code in force on a day."""
    every = {code for code in read.names if code[0].isdigit()} | set(read.places._of_code)
    return {code for code in every if read.known(code, day.toordinal())}


def by_level(found: set[str]) -> dict[int, int]:
    return dict(Counter(len(code) for code in found))


@pytest.mark.parametrize(
    ("day", "counts"),
    [
        ("2017-12-27", (34, 514, 7_201, 83_436)),
        ("2019-10-08", (34, 514, 7_230, 83_441)),
        ("2020-12-21", (34, 514, 7_230, 83_449)),
        ("2022-02-14", (34, 514, 7_266, 83_467)),
        ("2022-11-09", (37, 514, 7_277, 83_763)),
        ("2025-04-25", (38, 514, 7_285, 83_762)),
    ],
)
def test_codes_in_force_are_as_many_as_each_decree_says(whole: Reference, day: str, counts: tuple[int, ...]) -> None:
    """The totals of the six decrees (lampit/data/region_changes.md); whatever is in force lies in what is in force."""
    found = codes(whole, date.fromisoformat(day))
    assert by_level(found) == dict(zip((2, 5, 8, 13), counts, strict=True))
    assert all(parent(code) in found for code in found if len(code) > 2)


def test_someone_in_every_desa_of_2017_is_lost_on_no_day(whole: Reference) -> None:
    """On every change day each is at a code that is in force, or one of the few retired; nobody is counted twice."""
    places, everyone = whole.places, [code for code in codes(whole, date(2018, 1, 1)) if len(code) == 13]
    columns = [places.at(code, date(2018, 1, 1).toordinal()) for code in everyone]
    assert len(set(columns)) == len(everyone) == 83_436
    lost: dict[date, int] = {}
    for day in DECREES:
        found = codes(whole, day)
        at = Counter(places.code(column, day.toordinal()) for column in columns)
        assert sum(at.values()) == len(everyone)
        unresolved = [code for code in at.elements() if code not in found or len(code) < 13]
        # A retired desa keeps its people on its code, or they are in the kecamatan that now has it.
        assert all(code in found or parent(code) in found for code in at)
        lost[day] = len(unresolved)
        shared = [code for code, people in at.items() if people > 1 and len(code) == 13]
        assert shared == ([] if day < date(2022, 11, 9) else ["35.78.12.1006"]), "only desa that merged share a code"
    # 81 rows are retired; 39 of them are renamed in two rows, one was new in 2020.
    assert list(lost.values()) == [4, 7, 8, 30, 41]


def test_a_code_alone_names_the_place_but_for_ten(whole: Reference) -> None:
    shared = [code for code, places in whole.places._of_code.items() if len(places) > 1]
    assert sorted(shared) == [
        "11.12.03.2030", "11.12.07.2004", "73.08.20.1001", "73.08.20.2007", "73.10.05.1003", "73.10.05.1004",
        "74.03.27.2003", "74.03.27.2004", "74.03.27.2009", "74.03.27.2017",
    ]  # fmt: skip


def test_swapped_codes_keep_their_places_apart(whole: Reference) -> None:
    places, before, after = whole.places, date(2025, 4, 24).toordinal(), date(2025, 4, 25).toordinal()
    one, other = places.at("74.03.27.2003", before), places.at("74.03.27.2004", before)
    assert (places.code(one, after), places.code(other, after)) == ("74.03.27.2004", "74.03.27.2003")
    assert places.same(one, places.at("74.03.27.2004", after), after)
    assert (places.code(one, before), places.code(other, before)) == ("74.03.27.2003", "74.03.27.2004")


def test_no_changes_is_no_work() -> None:
    empty = Places()
    assert empty.at("16.05", 1) == empty.code("16.05", 1) == "16.05"
    assert empty.same("16.05", "16.05", 1)
    assert not empty.same("16.05", "16.06", 1)
