"""The core and the SQL recount agree on random lives; order and repetition change nothing; the sums add up."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.regions import parent
from stream.rules import Rules
from stream.tally import MEASURES
from tests.counters import Count, by_core, by_sql, delays_by_core, delays_by_sql, disagreements
from tests.property import changing
from tests.property.lives import histories
from tests.property.test_search import Search, elsewhere, made

DAYS = [date(2018, 12, 31), date(2019, 2, 28), date(2019, 3, 1), date(2019, 3, 28), date(2020, 6, 30)]
_rules = st.builds(Rules, st.none() | st.integers(1, 60), st.sampled_from(("mar1", "feb28")))


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(histories(), _rules, st.sampled_from(DAYS))
def test_core_and_sql_agree(events: list[dict[str, Any]], rules: Rules, day: date) -> None:
    """Every region and every anomaly; test_search.py does it at length."""
    (core,), (sql,) = by_core(events, rules, [day]), by_sql(events, rules, [day])
    assert not disagreements(core, sql)


@pytest.mark.parametrize("number", [1, 2])
def test_closings_and_codes_that_change(number: int) -> None:
    """A month of both counts, and the figures of a day; once in desa that stay and once in desa that change."""
    chance = random.Random(number)
    drawn = made(number, 24)
    Search(chance).close([elsewhere(history, place) for place, history in enumerate(drawn)])
    changed = Search(chance, changing.DAYS, changing.PERIODS, other_codes=True)
    told = [changing.told_again(history, chance, place) for place, history in enumerate(drawn)]
    changed.compare(told)
    changed.close(told)


@pytest.mark.parametrize("number", [3, 4])
def test_delays_agree(number: int) -> None:
    """Median and 90th percentile of every region, in both datings; desa that change their codes among them."""
    chance = random.Random(number)
    told = [changing.told_again(history, chance, place) for place, history in enumerate(made(number, 36))]
    events = [event for history in told for event in history]
    days = changing.DAYS[0], chance.choice(changing.DAYS[8:])
    core = delays_by_core(events, Rules(), *days)
    assert len({kind for _, _, kind in core}) >= 5
    assert core == delays_by_sql(events, Rules(), *days)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(histories(), _rules, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(events: list[dict[str, Any]], rules: Rules, chance: Any) -> None:
    """A shuffled list with repeats is the same set."""
    again = events + chance.choices(events, k=len(events))
    chance.shuffle(again)
    for one, other in zip(by_core(events, rules, DAYS), by_core(again, rules, DAYS), strict=True):
        assert not disagreements(one, other)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(histories(), _rules)
def test_sums(events: list[dict[str, Any]], rules: Rules) -> None:
    """Sexes add up to totals; of regions without a balance the children add up to the parent."""
    for counted in by_core(events, rules, DAYS):
        for record in counted.regions.values():
            for measure in MEASURES:
                value = record[measure]
                if None not in value.values():
                    assert value["M"] + value["F"] + value["unknown"] == value["total"]
        children_add_up(counted)


def children_add_up(counted: Count) -> None:
    """For parents whose figure is only the sum of their children's: nobody lives at a code above the villages here."""
    for code, record in counted.regions.items():
        children = [child for name, child in counted.regions.items() if parent(name) == code]
        if record["opening"] != "register" or not children or record["level"] == "village":
            continue
        for measure in MEASURES:
            assert record[measure]["total"] == sum(child[measure]["total"] for child in children)
