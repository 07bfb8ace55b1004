"""The second count of `python -m bench peers`: sums by plain Python, and what is found of them in a topic of totals."""

from __future__ import annotations

import json

from bench.village_sums import NOWHERE, Totals, sums_of


def event(name: str, kind: str, village: str | None, source: str = "/siak/1605") -> bytes:
    data = {} if village is None else {"region": village}
    return json.dumps({"source": source, "id": name, "type": kind, "data": data}).encode()


def test_each_source_and_id_is_summed_once() -> None:
    lines = [
        event("1", "register", "16.05.01.2001"),
        event("1", "register", "16.05.01.2001"),
        event("1", "register", "16.05.01.2001", source="/siak/1606"),
        event("2", "death", "16.05.01.2001"),
        event("3", "marriage", None),
    ]
    assert sums_of(lines) == {"16.05.01.2001 register": 2, "16.05.01.2001 death": 1, f"{NOWHERE} marriage": 1}


def test_the_last_total_of_a_village_and_type_holds() -> None:
    totals = Totals()
    for value in (b"A register 1", b"A register 2", b"A death 1", b"B register 1", b"A register 3"):
        totals.read(value)
    assert totals.events == 5
    assert totals.wrong_villages({"A register": 3, "A death": 1, "B register": 1}) == 0


def test_a_village_with_several_wrong_totals_is_one_wrong_village() -> None:
    totals = Totals()
    for value in (b"A register 2", b"A death 2", b"B register 1", b"C birth 1"):
        totals.read(value)
    assert totals.wrong_villages({"A register": 1, "A death": 1, "B register": 1}) == 2, (
        "A is too high, C is not wanted"
    )
    assert totals.wrong_villages({"A register": 2, "A death": 2, "B register": 1, "C birth": 1, "D birth": 1}) == 1
