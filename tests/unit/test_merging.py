"""People with several NIKs: who keeps their events, what is sent where, and that copies count for nothing elsewhere."""

from __future__ import annotations

import json
from datetime import date
from itertools import permutations
from pathlib import Path

import pytest

from agents.store import Store
from lampit import reference
from lampit.audit.sql_count import sql_count
from stream.admission import Admitted
from stream.calendar import ordinal
from stream.engine import Engine
from stream.events import Event, NikChange, Register
from stream.ledger import encode_record
from stream.merging import Copy, Forward, Hold, partition_of, to_send
from stream.rules import Rules
from tests.property.partitions import Cluster

# In three partitions: 0x…0 % 3 = 0, 1 and 2.
A, B, C = "00000001" + "a" * 24, "00000002" + "b" * 24, "00000003" + "c" * 24
DAY = date(2019, 3, 28)
HOME, OTHER_HOME = "16.05.02.2001", "16.09.01.2001"


def register(name: str, region: str = HOME, time: int = 1) -> Register:
    return Register(source="/siak/1605", id=name, time=time, occurred_on=ordinal("2010-01-01"), region=region)


def change(name: str, new: str, time: int = 5) -> NikChange:
    return NikChange(source="/siak/1605", id=name, time=time, occurred_on=ordinal("2019-01-01"), new_subject=new)


def test_the_larger_id_is_given_up_whichever_way_the_change_goes() -> None:
    """Its events go to the smaller; the smaller keeps its own and sends nothing."""
    entry = register("r")
    for sender, change_sent in ((A, change("n", B)), (B, change("n", A))):
        larger = Hold(B, [entry]).with_more([(sender, change_sent)])
        assert larger.is_given_up
        assert larger.persons() == []
        assert set(larger.forwards()) == {Forward(A, Copy(B, entry)), Forward(A, Copy(sender, change_sent))}
        smaller = Hold(A, [register("s")]).with_more([(sender, change_sent)])
        assert not smaller.is_given_up
        assert smaller.forwards() == []


def test_a_keeper_tells_who_cannot_know_of_it() -> None:
    """B knows of A and of C; C knows of B only: A, told of C by B, tells C of itself."""
    first, second = change("n1", B), change("n2", C)
    keeper = Hold(A, [first]).with_more([(B, second)])
    assert keeper.forwards() == [Forward(C, Copy(A, first))]
    told = Hold(C, [register("r")]).with_more([(B, second), (A, first)])
    assert told.keeper == A


def test_only_what_is_new_is_sent() -> None:
    before = Hold(B, [register("r")], [Copy(A, change("n", B))])
    assert to_send(before, before.with_more([(B, register("r"))])) == []
    assert to_send(before, before.with_more([(B, register("s"))])) == [Forward(A, Copy(B, register("s")))]


def test_a_change_that_lost_a_conflict_joins_nobody_but_is_kept_by_the_same() -> None:
    """The keeper counts two persons, and gives out a list for each id."""
    lost, stood = change("n", B, time=9), register("n", time=1)
    hold = Hold(A, [lost, stood]).with_more([(B, register("r", OTHER_HOME))])
    assert [name for name, _ in hold.persons()] == [A, B]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_chain_over_three_partitions_and_real_stores(order: tuple[int, ...], tmp_path: Path) -> None:
    """A → B → C, each with a register entry, in any order, every partition killed between sending and noting it."""
    events: list[tuple[str, Event]] = [
        (A, change("n1", B)),
        (B, change("n2", C)),
        (C, register("r", OTHER_HOME)),
        (B, register("s", time=2)),
    ]
    assert {partition_of(subject, 3) for subject in (A, B, C)} == {0, 1, 2}
    cluster = Cluster(3, tmp_path, Store)
    cluster.turn(DAY)
    engine = Engine(Rules(), reference.load())
    for index in order:
        subject, event = events[index]
        engine.add(subject, event)
        cluster.accept(Admitted(subject, event, "any"))
        for desk in cluster.desks:
            desk.apply(10)
            desk.publish(killed=True)
    cluster.settle()
    counted = engine.count(DAY)
    records = cluster.records(DAY)
    assert all(records[record["region"]] == record for record in counted.regions)
    assert records["ID"]["population"]["total"] == 1
    kinds = {"already_born": "s", "birth_date_unknown": "r", "unknown_region": "r"}
    expected = {A: {("/siak/1605", name, kind) for kind, name in kinds.items()}}
    assert {one.subject for one in counted.anomalies} == {A}
    assert {name: found for name, found in cluster.lists.items() if found} == expected
    cluster.close()


def test_a_rebuilt_store_takes_back_what_the_lost_one_gave_out(tmp_path: Path) -> None:
    """B was counted in its partition; rebuilt, that reads B's entry and the change that gives it up in one batch."""
    cluster = Cluster(3, tmp_path)
    cluster.turn(DAY)
    cluster.accept(Admitted(B, register("r"), "any"))
    cluster.settle()
    assert cluster.records(DAY)["ID"]["population"]["total"] == 1
    cluster.accept(Admitted(A, change("n", B), "any"))
    cluster.desks[partition_of(B, 3)].lose_store()
    cluster.settle()
    assert cluster.records(DAY)["ID"]["population"]["total"] == 1
    assert {name for name, kinds in cluster.lists.items() if kinds} == {A}


def test_the_audit_leaves_copies_out() -> None:
    """In the SQL count a copy under the surviving id adds nothing: it would be an event of another person."""
    own = [(B, encode_record(B, register("r"), 0))]
    copies = [(A, encode_record(A, register("r"), 0, B))]
    assert json.loads(copies[0][1])["forwardedfrom"] == B
    one, other = (sql_count(records, as_of=DAY, regions=reference.DATA / "regions") for records in (own, own + copies))
    assert one == other
    assert one.regions[0]["population"]["total"] == 1
