"""Random histories told again in places whose codes change, on days around the changes.

In: a history of tests/property/lives.py. Out: the same story with other villages, regions, days and birthdays: a desa that was
split, moved, swapped, merged or struck off, and balances whose regions leave one another.
"""

from __future__ import annotations

import json
import random
import re
from datetime import date, timedelta

from tests.property import lives, test_regions
from tests.property.lives import Json
from tests.property.test_regions import DECREES

DAYS = sorted({day + timedelta(days=shift) for day in DECREES for shift in (-30, -1, 0, 1, 20)} | {date(2018, 6, 1)})
# Seventeen on or beside a day of changes.
BIRTHS = [date(day.year - 17, day.month, day.day) + timedelta(days=shift) for day in DECREES for shift in (-1, 0, 1)]
PERIODS = [
    f"{year}-{month:02}" for year, months in ((2019, (9, 10, 11)), (2020, (12,)), (2021, (1,)), (2022, (2, 3, 10, 11, 12)),
                                              (2025, (4, 5, 6))) for month in months
]  # fmt: skip


def told_again(history: list[Json], chance: random.Random, number: int) -> list[Json]:
    """The history under codes that change; `number` keeps its people and balances apart from those of others."""
    words: dict[str, str] = {}
    words |= zip(lives.VILLAGES, chance.sample(test_regions.VILLAGES, len(lives.VILLAGES)), strict=True)
    regions = [region for region in lives.REGIONS if region != "ID" and region not in words]
    words |= zip(regions, chance.sample(test_regions.REGIONS[1:], len(regions)), strict=True)
    words |= zip(map(str, lives.DAYS), map(str, sorted(chance.sample(DAYS, len(lives.DAYS)))), strict=True)
    words |= zip(map(str, lives.BIRTHS[1:]), map(str, chance.sample(BIRTHS, len(lives.BIRTHS) - 1)), strict=True)
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    # A date also begins the text of a time.
    text = re.sub(rf'"({longest_first})(?=["T])', lambda found: '"' + words[found[1]], json.dumps(history))
    text = re.sub(r"16090241018(?=\d{5})", f"1609024{number:04}", text)
    events: list[Json] = json.loads(re.sub(r'"balance-(\d+)"', rf'"balance-{number}-\1"', text))
    return events
