"""A worker with an older store applies two events at once, between which another one gave its figures out.

tests/property/test_given_out_between.py looks for more of the kind; these are those that it takes long to find.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stream.admission import Admitted, admit
from stream.rollup import Partial
from tests.property.partitions import Cluster
from tests.wire import DATA, PSEUDONYMISE, raw

DAY = date(2019, 3, 28)
HOME = "16.05.02.2001"
FAR = "16.09.01.2001"
NO_BALANCE = "15.03.01.2001"


def event(kind: str, on: str, region: str, **more: Any) -> bytes:
    """One of the example's person."""
    return raw(kind, {"id": f"{kind}-{on}", "data": {**DATA[kind], "occurred_on": on, "region": region, **more}})


def balance(region: str) -> bytes:
    """The example's, of another region, without a schedule."""
    data = {name: value for name, value in DATA["opening_balance"].items() if name != "turning_17"}
    return raw("opening_balance", {"id": "balance", "data": {**data, "region": region, "occurred_on": "2019-03-01"}})


STORIES = {
    # Before the register entry the move goes from nowhere; before the death is known it goes into transit.
    "a move that was held": (
        [event("move_out", "2019-03-10", HOME)],
        event("register", "2010-01-01", HOME),
        event("death", "2019-03-05", HOME),
    ),
    # Presumed to be in the balance, until it is told that she came later, from where there is none.
    "recorded before the move in is told": (
        [balance("16.05")],
        event("recording", "2019-03-20", HOME, status="captured"),
        event("move_in", "2019-03-10", HOME, origin=NO_BALANCE),
    ),
    "died where the balance is, as far as was known": (
        [balance("16.05")],
        event("death", "2019-03-24", HOME),
        event("move_out", "2019-03-18", FAR),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_what_counted_between_two_events_is_given_out_again(name: str, tmp_path: Path) -> None:
    before, between, after = STORIES[name]
    cluster = Cluster(1, tmp_path)
    cluster.turn(DAY)
    send(cluster, *before)
    cluster.desks[0].change_worker()
    cluster.settle()
    send(cluster, between)
    given_out = parts(cluster)
    accept(cluster, after)
    cluster.desks[0].change_worker()
    cluster.settle()
    once = Cluster(1, tmp_path)
    once.turn(DAY)
    send(once, *before, between, after)
    assert parts(cluster) == parts(once)
    assert given_out != parts(once), "else nothing was given out between them that is wrong now"
    cluster.close()
    once.close()


def accept(cluster: Cluster, payload: bytes) -> None:
    """Into the ledger."""
    admitted = admit(payload, PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    cluster.accept(admitted)


def send(cluster: Cluster, *payloads: bytes) -> None:
    """Into the ledger, counted and given out."""
    for payload in payloads:
        accept(cluster, payload)
    cluster.settle()


def parts(cluster: Cluster) -> dict[str, Partial]:
    """The newest parts of regions that say something."""
    return {region: part for (_, region), part in cluster.partials.items() if part != Partial()}
