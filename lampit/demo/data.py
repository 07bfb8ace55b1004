"""The events of the demonstration: the same for the same seed, whatever day it is.

In: a seed, how many people, how many days. Out: (day, event) pairs, first what stands on the opening day (balances, the
register), then day after day. Called by `lampit.demo.play`. Pure: it reads the region reference and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, NamedTuple

from lampit import reference
from lampit.demo import balances
from lampit.demo.balances import JAMBI, MUSI_RAWAS, OKU_SELATAN, OPENING_DAY
from lampit.demo.days import BAD_SOURCE, Days
from lampit.demo.people import DISTRICT, Niks, register_event, residents

__all__ = ["BAD_SOURCE", "OPENING_DAY", "DemoEvent", "demo_events", "opening_balances", "page_notes"]


class DemoEvent(NamedTuple):
    """An event and the day it is sent on."""

    day: date
    event: dict[str, Any]


def villages() -> dict[str, list[str]]:
    """The villages in force on the opening day, by balance region and by the register's district."""
    regions = reference.load()
    day = OPENING_DAY.toordinal()
    found: dict[str, list[str]] = {}
    for code in sorted(regions.names):
        if len(code) != len("PP.KK.CC.VVVV") or not regions.known(code, day):
            continue
        inside = code[:5]
        if inside in (MUSI_RAWAS, OKU_SELATAN) or code.startswith(f"{JAMBI}."):
            found.setdefault(inside, []).append(code)
        elif code.startswith(f"{DISTRICT}."):
            found.setdefault(DISTRICT, []).append(code)
    return found


def opening_balances() -> list[balances.Balance]:
    """Published ones, then those derived for Jambi."""
    of_jambi = {
        village[:8] for code, inside in villages().items() if code.startswith(f"{JAMBI}.") for village in inside
    }
    return [*balances.PUBLISHED, *balances.derived(Counter(district[:5] for district in of_jambi))]


def page_notes(people: int) -> dict[str, Any]:
    """What the page says about the figures of the demonstration."""
    return balances.notes(opening_balances(), DISTRICT, people)


def demo_events(seed: int, people: int, days: int | None = None) -> Iterator[DemoEvent]:
    """Everything that is sent, in order; without `days` it never ends."""
    random = Random(seed)
    niks = Niks()
    opened = opening_balances()
    by_region = villages()
    register = residents(random, niks, by_region[DISTRICT], people)
    for balance in opened:
        yield DemoEvent(OPENING_DAY, balances.event(balance))
    for number, resident in enumerate(register, 1):
        yield DemoEvent(OPENING_DAY, register_event(resident, number))
    played = Days(random, niks, register, opened, by_region)
    day = OPENING_DAY
    while days is None or (day - OPENING_DAY).days < days:
        day += timedelta(days=1)
        for event in played.play(day):
            yield DemoEvent(day, event)
