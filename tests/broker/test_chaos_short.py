"""The short version of the chaos suite: three brokers, two workers of each agent, three faults in one run of a minute.

All other faults, and more events, are `make chaos`.
"""

from __future__ import annotations

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.run import run_fault
from tests.conftest import need_kafka


@pytest.mark.timeout(900)
def test_no_region_is_wrong_after_a_crash_in_a_transaction_a_lost_broker_and_a_zombie() -> None:
    """Coverage, anomalies, closings, rejects: those of the count over what was sent, and nothing acknowledged is missing."""
    need_kafka()
    with Cluster() as cluster:
        outcome = run_fault(cluster, FAULTS["short"], seed=1, people_events=300)
    assert outcome.findings == []
    assert outcome.wrong_regions == 0
    assert outcome.regions > 200
    assert outcome.closings > 100
    assert outcome.rejected > 50
    assert outcome.ended["ledger-a: -9"] >= 2
    assert outcome.crashed == {"ledger-in-transaction": 1}
