"""A worker that does not begin at the first record: from a snapshot on a new disk, from a warm copy at a takeover."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.snapshots import Snapshots
from agents.topics import LEDGER
from bench.people import events
from stream.ledger import ControlRecord, Genesis, decode_record
from stream.snapshot import offset_of
from tests.brokers import Broker
from tests.live import Live, Process, assert_anomalies_equal
from tests.object_store import ENVIRONMENT, ObjectStore, Way, url_of

DAY = date(2019, 3, 28)
PARTITIONS = 2
AT_ONCE = {"LAMPIT_GROUP_INSTANCE_ID": "one"}
"""Who is killed and started again has its partitions back without a wait for the end of its session."""

pytestmark = pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)


def made(count: int) -> Iterator[dict[str, Any]]:
    """Lives of people, as events."""
    return (json.loads(line) for line in events(count, 7))


def snapshots_of(live: Live, url: str) -> Snapshots:
    """The snapshots of the ledger that is on the broker."""
    genesis = decode_record(live.read(LEDGER)[0].value)
    assert isinstance(genesis, ControlRecord) and isinstance(genesis.control, Genesis)
    return Snapshots(url, genesis.control.ledger_id)


def begins(process: Process) -> dict[int, int]:
    """Where a worker first began, by partition: one that stood still for longer than its session begins again, further on."""
    found = re.findall(r"partition (\d+): begins at (\d+) of", said(process))
    return {int(number): int(at) for number, at in reversed(found)}


def said(process: Process) -> str:
    return process.log.read_text()


def metric(process: Process, series: str) -> float | None:
    """A value at /metrics; None before there is one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    found = re.search(rf"(?m)^{re.escape(series)} (\S+)$", text)
    return None if found is None else float(found[1])


def assert_exact(live: Live) -> None:
    found = live.differences(DAY, live.wait_until_counted(DAY))
    assert not found, "\n".join(found[:20])


def test_a_new_disk_begins_at_the_newest_snapshot_that_is_whole_and_of_this_ledger(
    empty_broker: Broker, tmp_path: Path
) -> None:
    url = str(tmp_path / "snapshots")
    settings = {"LAMPIT_SNAPSHOT_URL": url, "LAMPIT_SNAPSHOT_SECONDS": "1", **AT_ONCE}
    with Live(empty_broker, tmp_path, partitions=PARTITIONS, settings=settings) as live:
        snapshots = snapshots_of(live, url)
        live.start("intake")
        worker = live.start("ledger", "first")
        live.start("rollup")
        live.turn_day(DAY)
        for count in (2_000, 4_000):
            live.publish(list(made(count))[len(live.sent) :])
            live.wait_until_counted(DAY)
            last = {record.partition: record.offset for record in live.read(LEDGER, PARTITIONS)}
            live.wait_until(
                lambda last=last: all(  # type: ignore[misc]
                    snapshots.names(number) and offset_of(snapshots.names(number)[0]) > end
                    for number, end in last.items()
                ),
                "snapshots that hold everything",
            )
        assert metric(worker, 'lampit_snapshot_position{partition="1"}') is not None
        worker.kill()
        live.publish(list(made(4_500))[len(live.sent) :])

        newest, older = snapshots.names(0)[:2]  # one more where it was killed before it removed the oldest
        table = next((tmp_path / "snapshots" / snapshots.ledger_id / "partition=00000" / newest).glob("*.sst"))
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
        kept = snapshots.names(1)[0]
        other = msgspec.structs.replace(snapshots.manifest(1, kept), ledger_id="another", next_offset=10**9)
        folder = tmp_path / "snapshots" / snapshots.ledger_id / "partition=00001"
        (folder / kept).rename(folder / other.name)
        (folder / f"{other.name}.json").write_bytes(other.encode())
        (folder / other.name).rename(folder / kept)

        live.settings["LAMPIT_SNAPSHOT_SECONDS"] = "3600"  # leaves what is there as it is
        # Of partition 1 there is a store, but a damaged one; of partition 0 nothing.
        store = tmp_path / "on-a-new-disk" / "ledger" / "partition-1"
        shutil.copytree(tmp_path / "first" / "ledger" / "partition-1", store)
        (store / "CURRENT").write_bytes(b"nothing")
        again = live.start("ledger", "on-a-new-disk")
        assert_exact(live)
        assert begins(again) == {0: offset_of(older), 1: offset_of(kept)}
        assert "its file " in said(again) and "is not what was written" in said(again)
        assert "it is of another ledger" in said(again)
        assert metric(again, 'lampit_snapshots_total{outcome="used"}') == PARTITIONS
        assert metric(again, 'lampit_snapshots_total{outcome="refused"}') == PARTITIONS
        assert "partition 1: a file of the store cannot be read; the store is set aside" in said(again)


@pytest.mark.chaos
def test_killed_in_the_middle_of_an_upload_there_is_no_snapshot_and_the_next_one_is_whole(
    empty_broker: Broker, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with Way(object_store) as way, Live(empty_broker, tmp_path, partitions=1) as live:
        snapshots = snapshots_of(live, url_of(object_store.port, "snapshots"))
        live.settings |= {
            "LAMPIT_SNAPSHOT_URL": url_of(way.port, "snapshots"),
            "LAMPIT_SNAPSHOT_SECONDS": "1",
            **AT_ONCE,
        }
        live.start("intake")
        live.start("rollup")
        live.turn_day(DAY)
        live.publish(made(1_000))
        live.wait_until_taken_in()
        way.hold(2)
        worker = live.start("ledger", "first")
        live.wait_until(way.is_held.is_set, "an upload to be half done")
        worker.kill()
        way.cut()
        assert not snapshots.names(0)
        begun = snapshots.files.names(f"{snapshots.ledger_id}/partition=00000")
        assert len(begun) == 1, "it was killed after its work, not at it"

        second = live.start("ledger", "second")
        live.wait_until_counted(DAY)
        end = live.read(LEDGER)[-1].offset
        live.wait_until(
            lambda: bool(snapshots.names(0)) and offset_of(snapshots.names(0)[0]) > end,
            "a snapshot that holds everything",
        )
        assert begins(second) == {0: 0}
        second.kill()
        kept = snapshots.names(0)[0]
        third = live.start("ledger", "third")
        live.publish(list(made(1_200))[1_000:])
        assert_exact(live)
        assert begins(third) == {0: offset_of(kept)}


def test_a_takeover_begins_where_the_warm_copy_stands(empty_broker: Broker, tmp_path: Path) -> None:
    with Live(empty_broker, tmp_path, partitions=1) as live:
        live.start("intake")
        worker = live.start("ledger", "live")
        live.start("rollup")
        live.turn_day(DAY)
        live.publish(made(2_000))
        live.wait_until_counted(DAY)
        live.settings |= {"LAMPIT_STANDBY_PARTITIONS": "all", **AT_ONCE}
        lag = 'lampit_standby_lag_records{partition="0"}'

        beside = live.start("ledger", "beside")
        live.wait_until(lambda: metric(beside, lag) == 0, "the copy to be at the end")
        beside.kill()
        current = tmp_path / "beside" / "ledger" / "partition-0" / "CURRENT"
        current.write_bytes(b"nothing")

        # The copy is damaged: it is made again, and the one that counts goes on.
        beside = live.start("ledger", "beside")
        live.wait_until(lambda: metric(beside, lag) == 0, "the copy to be made again")
        assert "a file of the store cannot be read; the store is set aside" in said(beside)
        live.publish(list(made(3_000))[2_000:])
        live.wait_until_counted(DAY)
        end = live.read(LEDGER)[-1].offset
        live.wait_until(lambda: metric(beside, lag) == 0, "the copy to follow")
        assert begins(beside) == {}, "it counts nothing as long as the other one does"

        worker.kill()
        live.publish(list(made(3_500))[3_000:])
        assert_exact(live)
        assert_anomalies_equal(live, DAY)
        assert begins(beside)[0] > 0.9 * end
        assert metric(beside, lag) is None
        assert "stand still" not in said(beside) and "begun again" not in said(beside)
