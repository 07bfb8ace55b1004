"""A worker with an older store gives out again whatever another one gave out between two of the events it applies at once."""

from __future__ import annotations

import os
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.admission import Admitted
from stream.rollup import Partial
from tests.counters import accept
from tests.property.lives import histories
from tests.property.partitions import Cluster, Lists

LONG = int(os.environ.get("LAMPIT_FUZZ_OLDER", "4000"))
DAY = date(2019, 3, 28)
SEEN_LAST_MAX = 3

Json = dict[str, Any]
Figures = dict[str, Partial]


@settings(max_examples=150)
@given(histories(), st.randoms(use_true_random=False))
def test_what_another_worker_gave_out_is_given_out_again(events: list[Json], chance: Any) -> None:
    """Figures and lists of anomalies are those of a partition that was never with another worker."""
    take_over(events, chance)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False))
def test_what_another_worker_gave_out_at_length(events: list[Json], chance: Any) -> None:
    """The same, as long as is asked for."""
    take_over(events, chance)


def take_over(events: list[Json], chance: Any) -> None:
    """One worker stops early, another counts all but the last few events, the first comes back and applies the rest at once."""
    accepted, _ = accept(events)
    chance.shuffle(accepted)
    last = max(0, len(accepted) - chance.randrange(1, SEEN_LAST_MAX + 1))
    early = chance.randrange(last + 1)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(1, Path(folder))
        cluster.turn(DAY)
        _send(cluster, accepted[:early])
        cluster.desks[0].change_worker()
        _send(cluster, accepted[early:last])
        for one in accepted[last:]:
            cluster.accept(one)
        cluster.desks[0].change_worker()
        cluster.settle()
        found = _published(cluster)
        cluster.close()
    with tempfile.TemporaryDirectory() as folder:
        whole = Cluster(1, Path(folder))
        whole.turn(DAY)
        _send(whole, accepted)
        expected = _published(whole)
        whole.close()
    assert found == expected


def _send(cluster: Cluster, accepted: list[Admitted]) -> None:
    for one in accepted:
        cluster.accept(one)
    cluster.settle()


def _published(cluster: Cluster) -> tuple[Figures, Lists]:
    """The newest parts and lists that say something."""
    parts = {region: part for (_, region), part in cluster.partials.items() if part != Partial()}
    return parts, {subject: kinds for subject, kinds in cluster.lists.items() if kinds}
