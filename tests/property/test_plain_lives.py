"""Lives that are plain, or nearly: the short way by which the SQL counts most people gives what all its rules give.

In: people with an entry, moves, recordings, a marriage, a death; of some, one thing is out of the ordinary, and there may be
balances. Each set is counted by the core and by the SQL in three ways: with the short way, from records and from the segment
of an archive, and without it. test_search.py compares the SQL, either way, on histories in which nothing is ordinary.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.segments import encode, records_table
from lampit import reference
from lampit.audit.sql_count import CountSettings, count_day, rows, sql_count
from lampit.audit.sql_input import opened
from stream.ledger import encode_record
from stream.rules import Rules
from tests.counters import ONE_THREAD, Count, accept, by_core, disagreements
from tests.property import lives, test_regions
from tests.property.lives import Json
from tests.property.test_search import SECONDS, seed_of_search, smaller

PEOPLE = 300
_CODES = sorted(code for code in reference.load().names if len(code) == 13)
# Mostly codes that stay; one is in no reference, some change.
_STAY = [code for code in _CODES if code.startswith("16.05.01.")][:6]
VILLAGES = (*_STAY * 6, *lives.VILLAGES, *test_regions.VILLAGES[:6])
# Each named by hardly anybody: that it is listed is seen.
RARE = [code for code in _CODES if code.startswith("61.")]
FIRST = date(2018, 1, 1)
LAST = 1100
Chance = random.Random


def on(chance: Chance, after: int = 0) -> int:
    """A day, as a number since FIRST: more than `after`, often soon."""
    return after + chance.choice((1, 1, 2, 10, chance.randint(1, LAST)))


def event(chance: Chance, nik: str, kind: str, day: int, **data: Any) -> Json:
    """An event of which the name is new as a rule, reported at most some days late."""
    reported = FIRST + timedelta(days=day + chance.choice((0, 0, 1, 40)))
    return {
        "specversion": "1.0",
        "id": f"{kind}-{chance.randrange(10**9)}",
        "source": chance.choice(("/siak/1605", "/siak/1609")),
        "type": f"lampit.{kind}.v1",
        "time": f"{reported}T{chance.choice(('00:30:00+07:00', '10:00:00+07:00', '23:30:00+08:00'))}",
        "data": {"nik": nik, "occurred_on": str(FIRST + timedelta(days=day)), **data},
    }


def born(chance: Chance) -> str:
    """Often a birthday by which someone turns 17 in these years."""
    return str(
        chance.choice((date(1960, 2, 29), date(2004, 2, 29), date(2001, 1, 1) + timedelta(chance.randrange(1500))))
    )


def plain_life(nik: str, chance: Chance) -> list[Json]:
    """An entry, perhaps moves and a death, recordings at one place, a marriage."""
    home, day = chance.choice(VILLAGES), chance.randrange(200)
    if chance.randrange(5):
        person = {"birth_date": born(chance)}
        if chance.randrange(5):
            person["sex"] = chance.choice("MF")
        for name, share in (("ever_married_on", 6), ("recorded_on", 3)):
            if chance.randrange(share) == 0:
                person[name] = str(FIRST + timedelta(days=chance.randrange(-2000, LAST)))
        told = [event(chance, nik, "register", day, region=home, person=person)]
    else:
        told = [event(chance, nik, "birth", day, region=home, sex=chance.choice("MF"))]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        day, goal = on(chance, day), chance.choice((*VILLAGES, "15.03", "abroad", None))
        told.append(event(chance, nik, "move_out", day, region=home, destination=goal, letter='474/"2"'))
        if chance.randrange(4) == 0:
            break
        origin, home = home, goal if goal in VILLAGES else chance.choice(VILLAGES)
        day = on(chance, day) if chance.randrange(4) else day
        told.append(event(chance, nik, "move_in", day, region=home, origin=chance.choice((origin, "abroad", None))))
    served = chance.choice(RARE if chance.randrange(8) == 0 else VILLAGES)
    for _ in range(chance.choice((0, 1, 1, 2))):
        status = chance.choice(("captured", "captured", "sent", "print_ready", "printed", "delivered"))
        told.append(event(chance, nik, "recording", on(chance), region=served, status=status, service_point="16.05"))
    if chance.randrange(6) == 0:
        told.append(event(chance, nik, "marriage", on(chance)))
    if chance.randrange(6) == 0:
        last = max(date.fromisoformat(one["data"]["occurred_on"]) for one in told)
        died = (last - FIRST).days + chance.choice((0, 1, 30))
        told.append(event(chance, nik, "death", died, region=home))
    return told


def odd_life(nik: str, chance: Chance) -> list[Json]:
    """A plain one in which something is out of the ordinary."""
    told = plain_life(nik, chance)
    one = chance.choice(told)
    changed: Json = json.loads(json.dumps(one))
    data: Json = changed["data"]
    ways: list[Callable[[], object]] = [
        lambda: told.append(changed),
        lambda: (told.append(changed), data.update(region=chance.choice(VILLAGES))),
        lambda: one["data"].update(region=chance.choice(VILLAGES)),
        lambda: one["data"].update(occurred_on=str(FIRST + timedelta(days=on(chance)))),
        lambda: one["data"].update(occurred_on=chance.choice(told)["data"]["occurred_on"]),
        lambda: told[0]["data"].update(person={**told[0]["data"].get("person", {}), "citizen": chance.choice((True, False))}),
        lambda: one["data"].update(person={**data.get("person", {}), "birth_date": born(chance), "sex": "M"}),
        lambda: one.update(id=chance.choice(told)["id"], source=chance.choice(told)["source"]),
        lambda: told.remove(one),
        lambda: told.append(
            event(chance, nik, "cancellation", on(chance), cancels={"source": one["source"], "id": one["id"]})
        ),
        lambda: told.append(event(chance, nik, "correction", on(chance), birth_date=born(chance), sex="F")),
        lambda: told.append(event(chance, nik, "residence_permit", on(chance), citizen=chance.choice((True, False)))),
        lambda: told.append(event(chance, nik, chance.choice(("missing", "found")), on(chance), region=VILLAGES[0])),
        lambda: told.append(
            event(chance, nik, "recording", on(chance), region=VILLAGES[0], status=chance.choice(("failed", "duplicate")))
        ),
        lambda: told.append(event(chance, nik, "death", on(chance), region=chance.choice(VILLAGES))),
        lambda: told.extend(plain_life(nik, chance)),
        lambda: told.append(event(chance, nik, "birth", on(chance), region=VILLAGES[0], sex="F", already_registered=True)),
        lambda: told.append(event(chance, nik, "register", on(chance), region=VILLAGES[0], in_opening=True,
                                  person={"birth_date": born(chance)})),
        lambda: told.append(
            event(chance, nik, "nik_change", on(chance), new_nik=f"16090241018{chance.randrange(PEOPLE):05}")
        ),
        lambda: told.append(event(chance, nik, "recording", on(chance), region=chance.choice(RARE))),
        lambda: told.append(
            event(chance, nik, chance.choice(("move_in", "move_out")), on(chance), region=data.get("region", VILLAGES[0]))
        ),
    ]  # fmt: skip
    # Some find more than others: a life that is plain but for one place or day.
    chance.choice([*ways, *ways[2:6] * 4, *ways[-2:] * 4])()
    return told


def balance(chance: Chance, number: int) -> Json:
    """A total of a region in which some of the villages are, or were, or are not."""
    region = chance.choice(("16.05.01", _STAY[0], "51.71", *test_regions.REGIONS[1:]))
    made = event(chance, "", "opening_balance", on(chance), region=region, counts={"population": 90, "obliged": 60})
    del made["data"]["nik"]
    return made | {"id": f"balance-{number}"}


def drawn(number: int) -> tuple[list[Json], Rules, date]:
    """People and balances, the rules and a day; the same for the same number."""
    chance = Chance(number)
    people = [
        (odd_life if chance.randrange(2) else plain_life)(f"16090241018{person:05}", chance) for person in range(PEOPLE)
    ]
    events = [one for told in people for one in told]
    events += [balance(chance, one) for one in range(chance.choice((0, 0, 1, 3)))]
    rules = Rules(chance.choice((None, None, chance.randint(1, 40))), chance.choice(("mar1", "feb28")))
    return events, rules, FIRST + timedelta(days=chance.randrange(LAST))


def by_sql(events: list[Json], rules: Rules, day: date, folder: Path) -> list[Count]:
    """By the short way from records and from a segment, and by all rules."""
    accepted, rejected = accept(events)
    records = [(one.subject, encode_record(one.subject, one.event, 0)) for one in accepted]
    segment = folder / "segment.parquet"
    kept = [
        SimpleNamespace(offset=offset, timestamp=0, key=None if key is None else key.encode(), value=value)
        for offset, (key, value) in enumerate(records)
    ]
    segment.write_bytes(encode(records_table(kept)))
    counts = []
    for source, plain_apart in ((records, True), ([segment], True), (records, False)):
        counted = sql_count(
            source,
            as_of=day,
            regions=reference.DATA / "regions",
            region_changes=reference.DATA / "region_changes.csv",
            settings=CountSettings(rules.transit_expiry_days, rules.leap_birthday),
            machine=ONE_THREAD,
            plain_apart=plain_apart,
        )
        anomalies = sorted((one["event"]["source"], one["event"]["id"], one["kind"]) for one in counted.anomalies)
        counts.append(Count({record["region"]: record for record in counted.regions}, anomalies, rejected))
    return counts


def differences(events: list[Json], rules: Rules, day: date, folder: Path) -> list[str]:
    """One line each, with the way of the SQL that differs; which regions are listed counts too."""
    (core,) = by_core(events, rules, [day])
    ways = by_sql(events, rules, day, folder)
    found = []
    for name, counted in zip(("short way", "short way, segment", "all rules"), ways, strict=True):
        found += [f"{name}: {line}" for line in disagreements(core, counted)]
        found += [f"{name}: {code} is listed once" for code in core.regions.keys() ^ counted.regions.keys()]
    return found


def compare(number: int, folder: Path) -> None:
    """All ways on one set; fails with the smallest that still differs."""
    events, rules, day = drawn(number)
    if differences(events, rules, day, folder):
        events = smaller(events, lambda some: bool(some) and bool(differences(some, rules, day, folder)))
        lines = [json.dumps(one) for one in events] + differences(events, rules, day, folder)
        pytest.fail(f"set {number} as of {day}, {rules}:\n" + "\n".join(lines), pytrace=False)


@pytest.mark.parametrize("number", range(4))
def test_the_short_way_is_right(number: int, tmp_path: Path) -> None:
    """Every region and every anomaly, by the core and by the SQL in three ways."""
    compare(number, tmp_path)


def test_most_plain_lives_take_it() -> None:
    """Else nothing would be compared: in places that no balance names, all whose codes stayed."""
    chance = Chance(1)
    events = [one for person in range(200) for one in plain_life(f"16090241018{person:05}", chance)]
    records = [(one.subject, encode_record(one.subject, one.event, 0)) for one in accept(events)[0]]
    regions, changes = reference.DATA / "regions", reference.DATA / "region_changes.csv"
    with opened(records, regions, changes, ONE_THREAD) as connection:
        count_day(connection, date(2019, 6, 1), CountSettings(), plain_apart=True)
        (taken,) = rows(connection, "SELECT sum(people) FILTER (is_plain) AS plain, sum(people) AS people FROM life")
    assert taken["people"] == 200
    assert 40 <= taken["plain"] <= 199


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_the_short_way_is_right_at_length(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As long as LAMPIT_FUZZ_SECONDS says; LAMPIT_FUZZ_SEED repeats a search."""
    begin, until = seed_of_search(), time.monotonic() + SECONDS
    number = begin
    while time.monotonic() < until:
        compare(number, tmp_path)
        number += 1
    with capsys.disabled():
        print(f"\nseed {begin}: {number - begin:,} sets of {PEOPLE} people, each counted in four ways: 0 disagreements")
