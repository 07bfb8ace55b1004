"""The archive agent on a real broker: killed while it writes, it leaves the archive that an undisturbed one writes."""

from __future__ import annotations

import signal
from datetime import date
from pathlib import Path

import pytest
from kafka import KafkaProducer

from agents.errors import ConfigurationError
from agents.signing import load_public, make_key
from agents.topics import HEADS, LEDGER
from lampit.audit.archive import Archive, ArchiveDamaged
from lampit.audit.proofs import heads
from schemas.head import HeadRecord
from tests.archives import contents, ledger
from tests.broker.test_made_anew import make_anew
from tests.brokers import Broker
from tests.live import WAIT_SECONDS_MAX, Live, Process

PARTITIONS = 2
SEGMENT = 100
EVENTS = 12_000
LAST_DAY = date(2019, 4, 30)
KILLED_AT = (29, 34, 40, 43)
"""Files of which it sends the contents or the name to the disk when it is killed; a segment and its manifest are four."""


def archiving(live: Live, folder: Path | str, name: str, group: str, killed_at: int | None = None) -> Process:
    """An archive process of its own consumer group, writing to a place of its own; killed_at: it is at that file."""
    live.settings |= {
        "LAMPIT_ARCHIVE_URL": str(folder),
        "LAMPIT_ARCHIVE_KEY_FILE": str(live.folder / "archive.key"),
        "LAMPIT_ARCHIVE_SEGMENT_RECORDS": str(SEGMENT),
        "LAMPIT_GROUP_PREFIX": group,
    }
    if killed_at is None:
        return live.start("archive", name)
    return live.start("archive", name, program=("tests.chaos.worker",), CHAOS_CRASH=f"archive-file:{killed_at}")


def fill(broker: Broker, events: int = EVENTS) -> None:
    """A ledger's log behind its genesis, as intake and the day leave it."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=broker.transactions)
    for partition, log in ledger(events, PARTITIONS, 4).items():
        for record in log[2:]:
            producer.send(LEDGER, record.value, key=record.key, partition=partition, timestamp_ms=record.timestamp)
    producer.flush()
    producer.close()


def segments(folder: Path) -> int:
    return len(list(folder.rglob("*.parquet")))


def is_done(folder: Path) -> bool:
    """The last day is sealed in every partition."""
    if len(list(folder.rglob("manifest.jsonl"))) < PARTITIONS:
        return False
    barrier = Archive.open(str(folder)).barrier()
    return barrier is not None and barrier.day == LAST_DAY


def is_grown(url: str) -> bool:
    """The last day is sealed in every partition, and the trees have grown up to the ends; nothing is written any more."""
    try:
        archive = Archive.open(url)
        barrier = archive.barrier()
        grown = [len(archive.tree(number)[1]) == len(archive.segments(number)) for number in archive.partitions()]
    except (ConfigurationError, ArchiveDamaged):
        return False
    return len(grown) == PARTITIONS and all(grown) and barrier is not None and barrier.day == LAST_DAY


def written(folder: Path) -> dict[str, bytes]:
    """The files of an archive, without what a kill left half written: that stays for an hour."""
    return {name: content for name, content in contents(folder).items() if not name.endswith(".tmp")}


@pytest.mark.timeout(900)
def test_killed_while_it_writes_it_leaves_the_same_archive(kafka: Broker, tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    with Live(kafka, tmp_path, partitions=PARTITIONS) as live:
        make_key(tmp_path / "archive.key", tmp_path / "archive.pub")
        fill(kafka)
        live.turn_day(LAST_DAY)
        for number, killed_at in enumerate(KILLED_AT):
            before = segments(killed)
            # By itself: while we look, it might write all that is left.
            process = archiving(live, killed, f"killed-{number}", "killed", killed_at)
            assert process.popen.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL, process.log.read_text()[-2000:]
            assert segments(killed) > before
        assert not is_done(killed), "it was killed after its work, not at it"
        archiving(live, killed, "killed", "killed")
        live.wait_until(lambda: is_grown(str(killed)), "the killed one to be done")
        process = archiving(live, undisturbed, "undisturbed", "undisturbed")
        live.wait_until(lambda: is_grown(str(undisturbed)), "the undisturbed one to be done")
        assert process.stop() == 0
        assert written(killed) == written(undisturbed)

        archive = Archive.open(str(killed))
        log = {(record.partition, record.offset): record for record in live.read(LEDGER, PARTITIONS)}
        kept = {(record.partition, record.offset): record for record in archive.records()}
        assert kept.keys() == log.keys()
        assert all(
            (record.key, record.value, record.timestamp_ms) == (log[place].key, log[place].value, log[place].timestamp)
            for place, record in kept.items()
        )

        days = {(head.head, head.root) for head in heads(archive) if head.day}

        def published() -> list[HeadRecord]:
            return [HeadRecord.model_validate_json(head.value) for head in live.read(HEADS)]

        live.wait_until(lambda: {(head.head, head.root) for head in published()} >= days, "heads")
        assert {(head.head, head.root) for head in published()} == days
        keys = {record.key.decode().partition("|")[0] for record in live.read(HEADS)}
        assert keys == {head.ledger_id for head in published()}, "another ledger's heads take no other's place"
        assert {head.key for head in published()} == {load_public(tmp_path / "archive.pub")}


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_an_archive_is_not_gone_on_with_from_another_ledger(empty_broker: Broker, tmp_path: Path) -> None:
    """The same records, as a backup restores them, at other offsets: where there were markers are none."""
    folder = tmp_path / "archive"
    with Live(empty_broker, tmp_path, partitions=PARTITIONS) as live:
        make_key(tmp_path / "archive.key", tmp_path / "archive.pub")
        fill(empty_broker, 1_000)
        live.turn_day(LAST_DAY)
        first = archiving(live, folder, "first", "first")
        live.wait_until(lambda: is_grown(str(folder)), "the archive to be done")
        assert first.stop() == 0
        before = written(folder)
        again = archiving(live, folder, "again", "first")
        live.wait_until(lambda: "lampit.ledger-1: the archive goes on at" in again.log.read_text(), "it to go on")
        assert again.stop() == 0

        records = live.read(LEDGER, PARTITIONS)
        make_anew(live, LEDGER)
        with live.producer() as producer:
            for one in [*records, *records[-20:]]:
                producer.send(LEDGER, one.value, key=one.key, partition=one.partition, timestamp_ms=one.timestamp)
        refused = archiving(live, folder, "refused", "first")
        assert refused.popen.wait(WAIT_SECONDS_MAX) == 2, refused.log.read_text()[-2000:]
        assert (
            "it is not the ledger that was archived there. Name another LAMPIT_ARCHIVE_URL" in refused.log.read_text()
        )
        assert written(folder) == before
