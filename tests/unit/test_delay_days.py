"""The histogram of delays in days shows what one of prometheus-client's own would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from agents.metrics import DELAY_DAYS_BOUNDS, DelayDays

OBSERVED = st.lists(st.tuples(st.sampled_from(["lampit.birth.v1", "lampit.death.v1"]), st.integers(-400, 40_000)))


def shown(registry: CollectorRegistry) -> set[str]:
    """The series; when the client's own began is left out."""
    return {line for line in generate_latest(registry).decode().splitlines() if "_created" not in line}


@given(OBSERVED)
def test_it_shows_what_the_clients_own_would(observed: list[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    delays = DelayDays()
    ours.register(delays)
    text = "Days from what happened to its registration."
    histogram = Histogram("lampit_event_delay_days", text, ("type",), registry=theirs, buckets=DELAY_DAYS_BOUNDS)
    for kind, days in observed:
        delays.observe(kind, days)
        histogram.labels(kind).observe(days)
    assert shown(ours) == shown(theirs)
