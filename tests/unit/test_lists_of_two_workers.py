"""A partition goes to another worker and comes back to the first, whose store is older than what was given out since.

What changed and changed back meanwhile is no change for the older store; the lists on the topic are the other worker's.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from stream.admission import Admitted, admit
from tests.property.partitions import Cluster
from tests.wire import DATA, NIK, PSEUDONYMISE, raw

DAY = date(2019, 3, 28)
SUBJECT = PSEUDONYMISE(NIK)
MOVED_IN = raw("move_in", {"id": "moved-in"})
BORN = raw("correction", {"id": "born"})


def cancelled(name: str, target: str) -> bytes:
    """A cancellation."""
    return raw("cancellation", {"id": name}, cancels={"source": "/siak/1605", "id": target})


def send(cluster: Cluster, *payloads: bytes) -> None:
    """Into the ledger."""
    for payload in payloads:
        admitted = admit(payload, PSEUDONYMISE)
        assert isinstance(admitted, Admitted)
        cluster.accept(admitted)


def begun(folder: Path, *payloads: bytes) -> Cluster:
    """A first worker has counted and given out these; a second one has just taken over."""
    cluster = Cluster(1, folder)
    cluster.turn(DAY)
    send(cluster, *payloads)
    cluster.settle()
    cluster.desks[0].change_worker()
    cluster.settle()
    return cluster


def test_what_another_worker_gave_out_is_cleared(tmp_path: Path) -> None:
    """Nothing wrong for the first worker before, nothing after; the second one saw the moment between."""
    cluster = begun(tmp_path)
    send(cluster, MOVED_IN)
    cluster.settle()
    assert cluster.lists == {SUBJECT: {("/siak/1605", "moved-in", "birth_date_unknown")}}
    send(cluster, BORN)
    cluster.desks[0].change_worker()
    cluster.settle()
    assert cluster.lists == {SUBJECT: set()}
    cluster.close()


def test_what_another_worker_cleared_is_given_out_again(tmp_path: Path) -> None:
    """The same list for the first worker before and after; the second one saw a moment without it."""
    cluster = begun(tmp_path, MOVED_IN)
    found = {SUBJECT: {("/siak/1605", "moved-in", "birth_date_unknown")}}
    assert cluster.lists == found
    send(cluster, BORN)
    cluster.settle()
    assert cluster.lists == {SUBJECT: set()}
    send(cluster, cancelled("not-born", "born"))
    cluster.desks[0].change_worker()
    cluster.settle()
    assert cluster.lists == found
    cluster.close()


def test_what_another_worker_gave_out_while_the_first_did_not_know(tmp_path: Path) -> None:
    """The first worker, frozen meanwhile, applies both events at once before it learns that the partition is another's."""
    cluster = begun(tmp_path)
    send(cluster, MOVED_IN)
    cluster.settle()
    assert cluster.lists == {SUBJECT: {("/siak/1605", "moved-in", "birth_date_unknown")}}
    send(cluster, BORN)
    desk = cluster.desks[0]
    desk.other_thaws(2)
    desk.change_worker()
    assert desk.next == len(cluster.logs[0]), "nothing is left that could be doubted as it is applied"
    cluster.settle()
    assert cluster.lists == {SUBJECT: set()}
    cluster.close()


def test_a_balance_and_its_successor(tmp_path: Path) -> None:
    """Two balances change everybody's list and change it back, without an event of anybody."""
    cluster = begun(tmp_path, raw("death", {"id": "died"}))
    held = {SUBJECT: {("/siak/1605", "died", "unplaced")}}
    assert cluster.lists == held
    balance = {name: value for name, value in DATA["opening_balance"].items() if name != "turning_17"}
    governing = {**balance, "region": "16.05", "occurred_on": "2019-02-01"}
    send(cluster, raw("opening_balance", {"id": "balance", "data": governing}))
    cluster.settle()
    assert cluster.lists != held
    # The same id, sent earlier: that one stands, and governs elsewhere.
    other = {"id": "balance", "time": "2019-03-01T09:12:00+07:00", "data": balance}
    send(cluster, raw("opening_balance", other))
    cluster.desks[0].change_worker()
    cluster.settle()
    assert cluster.lists == held
    cluster.close()
