"""The made-up people of the demonstration: a district's register in the proportions that were published.

In: a random generator with a seed, villages. Out: `Resident`s and their `register` events; numbers for people whom only
an event names. Called by `lampit.demo.data` and `lampit.demo.days`. Nobody has a name, and no NIK can be a real one: there
is no province 00.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from lampit.demo.balances import OPENING_DAY

REGISTER_SOURCE: Final = "/demo/siak/1613"
DISTRICT: Final = "16.13.01"
"""Rupit in Musi Rawas Utara, a regency without a published balance."""

OBLIGED_RATIO: Final = 0.72
"""The obliged among the population: 200,426,767 of some 277 million."""

_MEN_RATIO: Final = 0.505
_RECORDED_BY_AGE: Final = ((18, 0.62), (20, 0.90), (200, 0.982))
"""Recorded among those younger than an age; 96 to 97 % of the obliged in all (Musi Rawas: 96.65 %)."""

_RECORDED_AT_16: Final = 0.25
_MARRIED_AT_16: Final = 0.02
_DAYS_A_YEAR: Final = 365.25
_CAMPAIGN_DAYS: Final = 2_500
"""e-KTP recordings began in 2012; those of our people lie within so many days before the opening."""


@dataclass
class Resident:
    """A person of the register, as the days change them."""

    nik: str
    village: str
    birth_date: date
    sex: str
    ever_married_on: date | None
    recorded_on: date | None

    @property
    def person(self) -> dict[str, str]:
        """What the register says of the person."""
        said = {
            "birth_date": self.birth_date,
            "ever_married_on": self.ever_married_on,
            "recorded_on": self.recorded_on,
        }
        return {"sex": self.sex, **{name: day.isoformat() for name, day in said.items() if day is not None}}


def age(birth_date: date, day: date) -> int:
    """Completed years; 29 February comes round on 1 March."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


class Niks:
    """Numbers in the form of a NIK that nobody can have."""

    def __init__(self) -> None:
        """None given out."""
        self._given = 0

    def next(self) -> str:
        """Another one."""
        self._given += 1
        return f"00{self._given:014d}"


def residents(random: Random, niks: Niks, villages: Sequence[str], people: int) -> list[Resident]:
    """A register: ages, sexes, marriages, recordings and homes of so many people."""
    weights = [0.4 + random.random() for _ in villages]
    return [_resident(random, niks.next(), random.choices(villages, weights)[0]) for _ in range(people)]


def _resident(random: Random, nik: str, village: str) -> Resident:
    is_obliged, chance = random.random() < OBLIGED_RATIO, random.random()
    # Above 17 there are fewer, the older.
    years = 17 + 70 * (1 - (1 - chance) ** 0.5) if is_obliged else 17 * chance
    birth_date = OPENING_DAY - timedelta(days=int(years * _DAYS_A_YEAR))
    sex = "M" if random.random() < _MEN_RATIO else "F"
    completed = age(birth_date, OPENING_DAY)
    married = OPENING_DAY - timedelta(days=random.randrange(1, 90)) if _marries_early(random, completed) else None
    recorded = None
    if random.random() < _recorded_ratio(completed):
        first_day = birth_date + timedelta(days=int(16 * _DAYS_A_YEAR) + 1)
        span = min(_CAMPAIGN_DAYS, (OPENING_DAY - first_day).days)
        recorded = OPENING_DAY - timedelta(days=random.randrange(span + 1)) if span >= 0 else None
    return Resident(nik, village, birth_date, sex, married, recorded)


def _marries_early(random: Random, completed: int) -> bool:
    return completed == 16 and random.random() < _MARRIED_AT_16


def _recorded_ratio(completed: int) -> float:
    if completed < 17:
        return _RECORDED_AT_16 if completed == 16 else 0.0
    return next(ratio for below, ratio in _RECORDED_BY_AGE if completed < below)


def register_event(resident: Resident, number: int) -> dict[str, Any]:
    """The entry that puts a person on the register, from their birth on."""
    return {
        "specversion": "1.0",
        "id": f"register-{number:06d}",
        "source": REGISTER_SOURCE,
        "type": "lampit.register.v1",
        "time": f"{OPENING_DAY}T12:00:00+07:00",
        "data": {
            "nik": resident.nik,
            "occurred_on": resident.birth_date.isoformat(),
            "region": resident.village,
            "person": resident.person,
        },
    }
