"""Stories with known causes: what is blamed, on which day, for how much."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import pytest

from lampit import reference
from stream.explain import explain
from stream.explanation import Cause, Explanation, Heard, Question
from stream.rules import Rules
from stream.tally import MEASURES
from tests.counters import accept

HERE: Final = "16.09.01.2001"
THERE: Final = "16.05.02.2001"
BORN: Final = {"birth_date": "1990-01-01", "sex": "F"}
BALANCE: Final = {"population": 1000, "obliged": 700, "recorded": 600}

Json = dict[str, Any]
Told = list[tuple[str, str, dict[str, int]]]


def event(kind: str, day: str, time: str | None = None, nik: int = 1, **data: Any) -> Json:
    who = {} if kind == "opening_balance" else {"nik": f"16090241018000{nik:02}"}
    return {
        "specversion": "1.0",
        "id": data.pop("id", f"{kind}-{nik}-{day}"),
        "source": "/siak/1609",
        "type": f"lampit.{kind}.v1",
        "time": f"{time or day}T10:00:00+07:00",
        "data": {**who, "occurred_on": day, **data},
    }


def asked(
    *events: Json | tuple[int, Json],
    region: str = "16.09",
    days: tuple[str, str] = ("2019-02-28", "2019-03-28"),
    known: tuple[int, int] | None = None,
    rules: Rules | None = None,
) -> Explanation:
    """Events, each with the hour it was accepted (0 where none is given)."""
    pairs = [one if isinstance(one, tuple) else (0, one) for one in events]
    accepted, rejected = accept(one for _, one in pairs)
    assert not rejected
    heard = [Heard(hour, one.subject, one.event) for (hour, _), one in zip(pairs, accepted, strict=True)]
    begin, end = (date.fromisoformat(day).toordinal() for day in days)
    known_from, known_to = known or (None, None)
    question = Question(region, begin, end, known_from, known_to)
    found = explain(heard, question, rules or Rules(), reference.load())
    assert not any(value for row in found.unexplained() for value in row)
    return found


def moved(cause: Cause) -> dict[str, int]:
    """The totals that moved."""
    return {name: row[3] for name, row in zip(MEASURES, cause.rows(), strict=True) if row[3]}


def told(found: Explanation) -> Told:
    return [(cause.kind, date.fromordinal(cause.day).isoformat(), moved(cause)) for cause in found.causes]


REGISTER = event("register", "2010-01-01", region=HERE, person=BORN)
ADULT = {"population": 1, "obliged": 1}


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        ([event("death", "2019-03-05", region=HERE)], [("deaths", "2019-03-05", {"population": -1, "obliged": -1})]),
        # the second report of a death has no effect
        (
            [event("death", "2019-03-05", region=HERE), event("death", "2019-03-07", region=HERE, id="again")],
            [("deaths", "2019-03-05", {"population": -1, "obliged": -1})],
        ),
        # recorded and failed within the month: both moved it
        (
            [event("recording", "2019-03-05", region=HERE), event("recording", "2019-03-06", region=HERE, status="failed")],
            [("recordings", "2019-03-05", {"recorded": 1}), ("recordings", "2019-03-06", {"recorded": -1})],
        ),
        # a stage that adds nothing is not blamed
        (
            [event("recording", "2019-03-05", region=HERE), event("recording", "2019-03-06", region=HERE, status="sent")],
            [("recordings", "2019-03-05", {"recorded": 1})],
        ),
        # out and back in a month
        (
            [
                event("move_out", "2019-03-05", region=HERE, destination=THERE),
                event("move_in", "2019-03-20", region=HERE, origin=THERE),
            ],
            [
                ("moved_in", "2019-03-20", ADULT),
                ("moved_out", "2019-03-05", {"population": -1, "obliged": -1}),
            ],
        ),
        # inside the region
        ([event("move_in", "2019-03-05", region="16.09.02.2001", origin=HERE)], []),
        ([event("missing", "2019-03-05", region=HERE)], [("missing", "2019-03-05", {"population": -1, "obliged": -1})]),
        (
            [event("residence_permit", "2019-03-05", citizen=False, permanent_permit={"from": "2019-03-10"})],
            [("permits", "2019-03-05", {"obliged": -1}), ("permits", "2019-03-10", {"obliged": 1})],
        ),
    ],
)  # fmt: skip
def test_a_month(happened: list[Json], expected: Told) -> None:
    assert told(asked(REGISTER, *happened)) == expected


def test_a_birthday_a_wedding_and_a_birth() -> None:
    young = {"sex": "M", "recorded_on": "2018-10-10"}
    found = asked(
        event("register", "2010-01-01", nik=2, region=HERE, person={**young, "birth_date": "2002-03-10"}),
        event("register", "2010-01-01", nik=3, region=HERE, person={**young, "birth_date": "2002-06-10"}),
        event("marriage", "2019-03-12", nik=3),
        event("birth", "2019-03-02", nik=4, region=HERE, sex="F"),
    )
    assert told(found) == [
        ("births", "2019-03-02", {"population": 1}),
        ("turned_17", "2019-03-10", {"obliged": 1, "recorded": 1, "recorded_early": -1}),
        ("marriages", "2019-03-12", {"obliged": 1, "recorded": 1, "recorded_early": -1}),
    ]


def test_a_removal_letter_that_lapsed() -> None:
    left = event("move_out", "2019-02-10", region=HERE, destination=THERE)
    assert told(asked(REGISTER, left, rules=Rules(30))) == [("returned", "2019-03-12", ADULT)]
    assert told(asked(REGISTER, left, region="ID-transit", rules=Rules(30))) == [
        ("returned", "2019-03-12", {"population": -1, "obliged": -1})
    ]


def test_what_became_known() -> None:
    """Each event for what it changed when it came: the first correction found somebody dead, and moved nothing."""
    found = asked(
        REGISTER,
        (5, event("death", "2019-02-10", "2019-03-05", region=HERE)),
        (6, event("correction", "2019-03-06", birth_date="2001-05-01")),
        (7, event("cancellation", "2019-03-07", cancels={"source": "/siak/1609", "id": "death-1-2019-02-10"})),
        (8, event("correction", "2019-03-08", birth_date="2011-05-01")),
        days=("2019-02-28", "2019-02-28"),
        known=(1, 9),
    )
    assert told(found) == [
        ("late_reports", "2019-02-10", {"population": -1, "obliged": -1}),
        ("corrections", "2018-05-01", {"obliged": -1}),
        ("cancellations", "2019-02-10", {"population": 1, "obliged": 1}),
    ]


def test_two_niks_that_are_one_person() -> None:
    other = event("register", "2010-01-01", nik=2, region=HERE, person=BORN)
    change = event("nik_change", "2019-03-05", new_nik="1609024101800002")
    found = asked(REGISTER, other, (5, change), days=("2019-02-28", "2019-02-28"), known=(1, 9))
    assert told(found) == [("nik_changes", "2010-01-01", {"population": -1, "obliged": -1})]


def test_two_niks_that_part_again() -> None:
    """The move of the same name was registered before the change of NIK and became known after it: two people again."""
    change = event("nik_change", "2019-03-01", "2019-03-02", nik=2, new_nik="1609024101800001", id="same")
    moved_in = event("move_in", "2019-03-01", nik=2, region=HERE, id="same")
    days = ("2019-03-20", "2019-03-20")
    found = asked(
        REGISTER, event("death", "2019-03-10", nik=2, region=HERE), change, (7, moved_in), days=days, known=(4, 9)
    )
    assert told(found) == [("late_reports", "2019-03-10", ADULT)]


def test_a_balance_and_what_it_did_not_know() -> None:
    """OKU Selatan: who dies unknown after D0 leaves; a death of before D0, reported after it, moves the day after."""
    balance = event("opening_balance", "2019-03-01", region="16.09", counts=BALANCE)
    delivered = event("recording", "2018-05-05", "2018-05-05", nik=5, region=HERE, status="delivered")
    found = asked(
        balance,
        delivered,
        event("death", "2019-03-05", nik=5, region=HERE),
        event("death", "2019-02-20", "2019-03-09", nik=6, region=HERE),
        event("death", "2019-02-20", nik=7, region=HERE),
        event("birth", "2019-03-06", nik=8, region=HERE, sex="F"),
        days=("2019-03-01", "2019-03-28"),
    )
    assert told(found) == [
        ("births", "2019-03-06", {"population": 1}),
        ("deaths", "2019-03-05", dict.fromkeys(("population", "obliged", "recorded", "print_ready", "issued"), -1)),
        ("late_reports", "2019-03-02", {"population": -1, "obliged": -1}),
    ]
    assert [row[3] for row in found.difference[:3]] == [-1, -2, -1]
    # What the balance does not state has no difference, and the split by sex neither.
    assert [row[3] for row in found.difference[3:]] == [None, None, None]
    assert found.difference[0][:3] == (None, None, None)


def test_a_schedule_counts_birthdays_and_the_next_balance_replaces_the_figure() -> None:
    first = event(
        "opening_balance",
        "2019-02-01",
        region="16.09",
        counts=BALANCE,
        turning_17=[{"on": "2019-03-10", "count": 4}, {"on": "2019-04-01", "count": 9}],
    )
    second = event("opening_balance", "2019-03-20", region="16.09", counts={**BALANCE, "population": 1010})
    died = event("death", "2019-03-05", nik=6, region=HERE)
    found = asked(first, second, died)
    assert told(found) == [
        ("deaths", "2019-03-05", {"population": -1, "obliged": -1}),
        ("turned_17", "2019-03-10", {"obliged": 4}),
        ("opening_balances", "2019-03-20", {"population": 11, "obliged": -3}),
    ]
    above = asked(first, second, died, region="16")
    assert told(above) == told(found)


def test_a_balance_that_became_known() -> None:
    balance = event("opening_balance", "2019-02-01", region="16.09", counts=BALANCE)
    found = asked(REGISTER, (5, balance), region="16", days=("2019-02-28", "2019-02-28"), known=(1, 9))
    assert told(found)[0][:2] == ("opening_balances", "2019-02-28")
    assert moved(found.causes[0])["population"] == 999


def test_an_answer_is_the_same_by_sex() -> None:
    """A corrected sex moves nobody in total, and one from F to M."""
    change = event("correction", "2019-03-05", sex="M")
    found = asked(REGISTER, (5, change), days=("2019-02-28", "2019-02-28"), known=(1, 9))
    (cause,) = found.causes
    assert cause.rows()[0] == (1, -1, 0, 0)
