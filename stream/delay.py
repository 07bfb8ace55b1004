"""How many days pass between an event and its registration: median and 90th percentile, by kind of flow.

In: flows of `stream.flows`. Out: `Delay` by kind. Called by `lampit report`. The law gives 60 days for a birth, 30 for a
death and 14 for an arrival from abroad.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stream.flow_tally import FLOWS
from stream.flows import Flow
from stream.places import Places
from stream.regions import within


class Delay(NamedTuple):
    """Of so many flows half were registered within `median_days`, nine in ten within `ninetieth_days` (nearest ranks).

    Negative for what was registered before it happened.
    """

    flows: int
    median_days: int
    ninetieth_days: int


def delays(
    flows: Iterable[Flow], region: str, first_day: int, last_day: int, places: Places, *, by_report: bool
) -> dict[str, Delay]:
    """The delays of a region's flows that happened, or were reported, in these days; kinds without are left out.

    The region is one of the last day's codes.
    """
    days: dict[int, list[int]] = {}
    for flow in flows:
        on = flow.reported if by_report else flow.day
        if first_day <= on <= last_day and within(places.code(flow.place, last_day), region):
            days.setdefault(flow.kind, []).append(flow.reported - flow.day)
    return {name: _delay(sorted(days[kind])) for kind, name in enumerate(FLOWS) if kind in days}


def _delay(ascending: Sequence[int]) -> Delay:
    return Delay(len(ascending), _nearest_rank(ascending, 50), _nearest_rank(ascending, 90))


def _nearest_rank(ascending: Sequence[int], percent: int) -> int:
    """The smallest value that at least so many percent of the values do not exceed."""
    return ascending[-(-len(ascending) * percent // 100) - 1]
