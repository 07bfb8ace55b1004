"""Synthetic events to measure with: lives of people in one regency, as JSON lines; the same seed gives the same bytes.

In: a number of events and a seed. Out: CloudEvents as producers send them. Of 1,000 events about 560 are register entries,
330 recordings, 60 move out and in, 15 deaths, 15 marriages, 20 births; 1 in 200 is sent twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

from lampit.reference import load

VILLAGES = sorted(code for code in load().names if code.startswith("16.05.") and len(code) == 13)
_FIRST = date(1950, 1, 1)


def events(count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` events, one JSON object each, without a newline."""
    chance = random.Random(seed)
    made = 0
    person = 0
    while made < count:
        person += 1
        for line in _life(person, chance):
            if made >= count:
                return
            made += 1
            yield line
            if made < count and chance.random() < 0.005:
                made += 1
                yield line


def _life(person: int, chance: random.Random) -> Iterator[bytes]:
    nik = f"1605{person:012}"
    home = chance.choice(VILLAGES)
    born = _FIRST + timedelta(days=chance.randrange(25_000))
    sex = chance.choice("MF")
    if chance.random() < 0.035:
        yield _event(nik, person, 0, "birth", born, f'"region": "{home}", "sex": "{sex}"')
    else:
        facts = f'"region": "{home}", "person": {{"birth_date": "{born}", "sex": "{sex}"}}'
        yield _event(nik, person, 0, "register", max(born, date(2010, 1, 1)), facts)
    if chance.random() < 0.58:
        on = born + timedelta(days=6_200 + chance.randrange(3_000))
        yield _event(nik, person, 1, "recording", on, f'"region": "{home}"')
    if chance.random() < 0.05:
        new_home = chance.choice(VILLAGES)
        on = date(2018, 1, 1) + timedelta(days=chance.randrange(400))
        yield _event(nik, person, 2, "move_out", on, f'"region": "{home}", "destination": "{new_home}"')
        yield _event(nik, person, 3, "move_in", on + timedelta(days=3), f'"region": "{new_home}", "origin": "{home}"')
        home = new_home
    if chance.random() < 0.026:
        yield _event(nik, person, 4, "marriage", born + timedelta(days=6_000 + chance.randrange(4_000)), "")
    if chance.random() < 0.026:
        yield _event(
            nik, person, 5, "death", date(2019, 3, 1) + timedelta(days=chance.randrange(28)), f'"region": "{home}"'
        )


def _event(nik: str, person: int, number: int, kind: str, on: date, facts: str) -> bytes:
    text = (
        f'{{"specversion": "1.0", "id": "01957c2e-{number:04x}-7000-8000-{person:012x}", "source": "/siak/1605", '
        f'"type": "lampit.{kind}.v1", "time": "2019-03-{1 + person % 28:02}T09:{person % 60:02}:00+07:00", '
        f'"data": {{"nik": "{nik}", "occurred_on": "{on}"{", " + facts if facts else ""}}}}}'
    )
    return text.encode()
