"""Snapshots: what a manifest says is what was written, and which ones count, are used, go."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.barrier import LedgerIdentity, rules_of
from agents.desk import Desk
from agents.saving import Saver
from agents.settings import Settings, load_settings
from agents.snapshots import Snapshots, Stopped, Until
from agents.store import FORMAT, Store
from agents.stores import Stores
from lampit import reference
from lampit.doctor import local
from lampit.doctor.cluster import Log
from stream.ledger import Genesis
from stream.rules import Rules
from stream.snapshot import (
    KEPT,
    MANIFEST,
    VERSION,
    Snapshot,
    SnapshotFile,
    UnfitSnapshot,
    offset_of,
    require_fit,
    to_remove,
    whole,
)
from tests.unit.test_new_epoch import control, fetch

files = st.builds(
    SnapshotFile,
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.integers(0, 2**40),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)
snapshots = st.builds(
    Snapshot,
    st.just(VERSION),
    st.text(max_size=10),
    st.integers(0, 999),
    st.integers(0, 999_999),
    st.text(max_size=10),
    st.integers(0, 9),
    st.integers(0, 10**19),
    st.integers(0, 2**40),
    st.lists(files, max_size=4, unique_by=lambda file: file.name).map(tuple),
)
names = st.builds("{:020}-2-{:016x}".format, st.integers(0, 6), st.integers(0, 3))
listings = st.sets(st.one_of(names, names.map(lambda name: name + MANIFEST), st.sampled_from(["notes", "x.json"])))


@given(snapshots)
def test_a_manifest_comes_back_and_sorts_by_its_offset(snapshot: Snapshot) -> None:
    assert Snapshot.decode(snapshot.encode(), snapshot.name) == snapshot
    assert offset_of(snapshot.name) == snapshot.next_offset
    assert whole([snapshot.name, snapshot.name + MANIFEST]) == [snapshot.name]


@given(snapshots, st.data())
def test_a_manifest_with_any_byte_changed_is_refused(snapshot: Snapshot, data: st.DataObject) -> None:
    raw = bytearray(snapshot.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnfitSnapshot):
        Snapshot.decode(bytes(raw), snapshot.name)


@pytest.mark.parametrize("name", ["../partition-1/CURRENT", "/etc/passwd", "", ".hidden", "a/b"])
def test_a_manifest_names_files_of_its_folder_only(name: str) -> None:
    snapshot = made(SnapshotFile(name, 1, "0" * 64))
    with pytest.raises(UnfitSnapshot, match="names files that no store has"):
        Snapshot.decode(snapshot.encode(), snapshot.name)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("ledger_id", "another", "another ledger"),
        ("partition", 4, "another partition"),
        ("format", FORMAT + 1, "format"),
        ("settings_digest", "other", "other rules"),
    ],
)
def test_what_is_of_something_else_is_refused(field: str, value: object, why: str) -> None:
    snapshot = made()
    wanted = {"ledger_id": "ours", "partition": 3, "format": FORMAT, "settings_digest": "settings"}
    require_fit(snapshot, **wanted)  # type: ignore[arg-type]
    with pytest.raises(UnfitSnapshot, match=why):
        require_fit(msgspec.structs.replace(snapshot, **{field: value}), **wanted)  # type: ignore[arg-type]


@given(listings, names)
def test_what_goes_is_neither_the_newest_nor_what_others_may_be_at(listed: set[str], written: str) -> None:
    listed |= {written, written + MANIFEST}
    gone = set(to_remove(listed, written))
    there = whole(listed)
    assert there == sorted(there, reverse=True) and not gone & set(there[:KEPT])
    assert set(there[KEPT:]) - {written} == gone & set(there), "more than the last ones and what was written stays"
    for folder in gone - set(there):
        assert folder in listed and folder < written
    assert "notes" not in gone
    # Gone through with, there is nothing more to remove.
    left = {name for name in listed if name.removesuffix(MANIFEST) not in gone}
    assert written not in whole(left) or to_remove(left, written) == []


def made(*listed: SnapshotFile, next_offset: int = 7) -> Snapshot:
    return Snapshot(VERSION, "ours", 3, FORMAT, "settings", 1, next_offset, 1_700_000_000, listed)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Files as a store's."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "000009.sst").write_bytes(b"table" * 1_000_000)  # of several pieces
    (folder / "CURRENT").write_bytes(b"MANIFEST-000005\n")
    (folder / "000012.log").write_bytes(b"")
    return folder


def write(place: Snapshots, checkpoint: Path, next_offset: int, until: Until | None = None) -> Snapshot:
    return place.write(checkpoint, lambda listed: made(*listed, next_offset=next_offset), until or Until())


def test_a_snapshot_comes_back_and_the_last_two_stay(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    assert place.names(3) == [] and place.newest(3, FORMAT, "settings") is None
    written = [write(place, checkpoint, offset) for offset in (5, 90, 100)]
    assert place.names(3) == [written[2].name, written[1].name]
    assert place.newest(3, FORMAT, "settings") == written[2]
    folder = tmp_path / "place" / "ours" / "partition=00003"
    assert len(list(folder.iterdir())) == 2 * KEPT
    target = tmp_path / "target"
    target.mkdir()
    # What an earlier attempt left: a right file, a wrong one, one of another snapshot.
    (target / "CURRENT").write_bytes(b"MANIFEST-000005\n")
    (target / "000009.sst").write_bytes(b"half")
    (target / "000001.sst").write_bytes(b"other")
    place.fetch(place.fitting(3, written[2].name, FORMAT, "settings"), target, Until())
    held = {path.name: path.read_bytes() for path in target.iterdir()}
    assert held == {path.name: path.read_bytes() for path in checkpoint.iterdir()}


def test_what_was_written_stays_though_snapshots_of_a_longer_log_lie_there(checkpoint: Path, tmp_path: Path) -> None:
    """A ledger restored from a backup ends before them, and none of them fits any more."""
    place = Snapshots(str(tmp_path / "place"), "ours")
    of_before = [write(place, checkpoint, offset).name for offset in (90, 100)]
    first = write(place, checkpoint, 40)
    assert place.names(3) == [*reversed(of_before), first.name]
    second = write(place, checkpoint, 50)
    assert place.names(3) == [*reversed(of_before), second.name]


def test_a_snapshot_made_by_a_clock_that_was_ahead_holds_up_no_other(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    year = 365 * 86_400
    place.write(
        checkpoint, lambda listed: msgspec.structs.replace(made(*listed), made_at=int(time.time()) + year), Until()
    )
    app: Any = SimpleNamespace(task=lambda _: None)
    desks: Any = {3: SimpleNamespace()}
    saver = Saver(app, place, 60.0, desks, lambda _: asyncio.Lock(), lambda _: tmp_path, "settings")
    asyncio.run(saver._turn(3))
    assert saver._position[3] == 7, "the snapshot was not looked at"
    assert saver._due[3] <= time.monotonic() + 60.0


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (flip, "is not what was written"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is not what was written"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(
    harm: Callable[[Path], object], why: str, checkpoint: Path, tmp_path: Path
) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    snapshot = write(place, checkpoint, 7)
    harm(tmp_path / "place" / "ours" / "partition=00003" / snapshot.name / "000009.sst")
    with pytest.raises(UnfitSnapshot, match=why):
        place.fetch(snapshot, tmp_path / "target", Until())
    assert not (tmp_path / "target" / "000009.sst").exists()


def test_a_store_of_other_settings_than_its_manifest_says_is_refused_as_a_snapshot(
    broker_down: None, tmp_path: Path
) -> None:
    """And ends nothing: it is none of this worker's own, which is kept where a setting is wrong."""
    settings, read = load_settings(partitions=1, snapshot_url=str(tmp_path / "place")), reference.load()
    ours, other = (
        LedgerIdentity("ours", 1, rules, read.digest) for rules in (rules_of(settings), Rules(None, "feb28"))
    )
    producer: Any = None  # nothing is published here
    desk = Desk(0, Store(tmp_path / "store"), producer, other, other.rules, read, "here", 9)
    desk.apply(fetch(0, control(other.epoch(1))))
    desk.store.checkpoint(tmp_path / "made")
    desk.store.close()
    Snapshots(str(tmp_path / "place"), "ours").write(
        tmp_path / "made",
        lambda listed: Snapshot(VERSION, "ours", 0, FORMAT, ours.settings_digest, 1, 1, 1_700_000_000, listed),
        Until(),
    )
    store = asyncio.run(Stores(settings, ours).open(0, Until()))
    assert store.meta is None
    store.close()


def test_what_is_stopped_in_the_middle_does_not_count_and_goes(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")

    class Later(Until):
        """Stops behind the digests, in the middle of a file."""

        left = 5

        def check(self) -> None:
            self.left -= 1
            if not self.left:
                self.stop()
            super().check()

    with pytest.raises(Stopped):
        write(place, checkpoint, 7, Later())
    folder = tmp_path / "place" / "ours" / "partition=00003"
    assert place.names(3) == [] and list(folder.iterdir()) == []


def test_what_a_killed_worker_left_goes_with_the_next(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    folder = tmp_path / "place" / "ours" / "partition=00003"
    shutil.copytree(checkpoint, folder / made(next_offset=7).name)
    kept = write(place, checkpoint, 8)
    assert sorted(path.name for path in folder.iterdir()) == [kept.name, kept.name + MANIFEST]


def test_attempts_that_fail_leave_nothing_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where nothing could be removed either, once it can be; what another worker is at stays."""
    place = Snapshots(str(tmp_path / "place"), "ours")
    folder = tmp_path / "place" / "ours" / "partition=00003"
    anothers = folder / made(next_offset=6).name
    shutil.copytree(checkpoint, anothers)

    def away(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def full(name: str, path: Path, seen: Callable[[bytes], None]) -> None:
        (away if path.name == "CURRENT" else copy_in)(name, path, seen)

    copy_in = place.files.copy_in
    with monkeypatch.context() as broken:
        broken.setattr(place.files, "copy_in", full)
        for offset in (7, 8):
            with pytest.raises(OSError, match="Input/output"):
                write(place, checkpoint, offset)
            assert list(folder.iterdir()) == [anothers]
        with monkeypatch.context() as worse:
            worse.setattr(place.files, "remove", away)
            with pytest.raises(OSError, match="Input/output"):
                write(place, checkpoint, 9)
            assert len(list(folder.iterdir())) == 2
        with pytest.raises(OSError, match="Input/output"):
            write(place, checkpoint, 9)
        assert list(folder.iterdir()) == [anothers]


def test_a_manifest_that_came_though_writing_it_failed_names_no_files_that_are_gone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    put = place.files.put

    def unanswered(name: str, content: bytes) -> None:
        put(name, content)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(place.files, "put", unanswered)
    with pytest.raises(OSError, match="Input/output"):
        write(place, checkpoint, 7)
    assert place.names(3) == []


def test_what_may_not_take_longer_ends(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    snapshot = write(place, checkpoint, 7)
    with pytest.raises(Stopped, match="took too long"):
        place.fetch(snapshot, tmp_path / "target", Until(deadline=0.0))


def test_a_manifest_has_no_more_than_it_needs(checkpoint: Path, tmp_path: Path) -> None:
    """It lies where the store's content does; what it says itself is of no person."""
    place = Snapshots(str(tmp_path / "place"), "ours")
    manifest = json.loads(write(place, checkpoint, 7).encode())
    assert set(manifest) == {
        "version", "ledger_id", "partition", "format", "settings_digest", "epoch", "next_offset", "made_at", "files"
    }  # fmt: skip


@pytest.mark.parametrize(("format", "digest"), [(FORMAT - 1, "settings"), (FORMAT, "settings of before")])
def test_a_snapshot_that_no_start_takes_holds_up_no_other(
    format: int, digest: str, checkpoint: Path, tmp_path: Path
) -> None:
    """As after an upgrade, on a partition of which nothing has come since."""
    place = Snapshots(str(tmp_path / "place"), "ours")
    of_before = place.write(
        checkpoint,
        lambda listed: msgspec.structs.replace(
            made(*listed), format=format, settings_digest=digest, made_at=int(time.time()) - 60
        ),
        Until(),
    )
    app: Any = SimpleNamespace(task=lambda _: None)
    desk: Any = SimpleNamespace(epoch_differs=False, meta=SimpleNamespace(next_offset=of_before.next_offset))
    desk.store = SimpleNamespace(checkpoint=lambda path: shutil.copytree(checkpoint, path))
    saver = Saver(
        app, place, 3600.0, {3: desk}, lambda _: asyncio.Lock(), lambda _: tmp_path / "partition-3", "settings"
    )

    def written(copied: Path, made_at: int, until: Until) -> Snapshot:
        return write(place, copied, of_before.next_offset, until)

    async def run() -> None:
        await saver._turn(3)
        assert saver._due[3] <= time.monotonic(), "it is taken for one that was just made"
        await saver._turn(3)

    saver._write = written  # type: ignore[method-assign]
    asyncio.run(run())
    newest = place.newest(3, FORMAT, "settings")
    assert newest is not None and newest.next_offset == of_before.next_offset


def test_doctor_counts_the_snapshots_that_a_start_would_take(checkpoint: Path, tmp_path: Path) -> None:
    place = Snapshots(str(tmp_path / "place"), "ours")
    settings = Settings(partitions=4, snapshot_url=str(tmp_path / "place"))
    identity = LedgerIdentity("ours", 4, rules_of(settings), reference.load().digest)
    log = Log({3: 7}, Genesis("ours", 4, 0, "fingerprint"))

    def found(digest: str) -> tuple[str, str]:
        place.write(checkpoint, lambda listed: msgspec.structs.replace(made(*listed), settings_digest=digest), Until())
        finding = local._snapshots(settings, str(tmp_path / "place"), log)
        return finding.status, finding.saw

    assert found("settings of before") == ("warning", "0 of 1 partitions have one that can be used")
    status, saw = found(identity.settings_digest)
    assert status == "ok" and saw.startswith("1 of 1 partitions have one that can be used")


@pytest.mark.parametrize("place", ["/proc/nope/snapshots", "file"])
def test_doctor_tells_that_snapshots_cannot_be_written_where_there_is_none(tmp_path: Path, place: str) -> None:
    """Places where root cannot make a folder either."""
    (tmp_path / "file").write_bytes(b"")
    url = str(tmp_path / place / "snapshots")
    found = local._snapshots(Settings(), url, Log({3: 7}, Genesis("ours", 4, 0, "fingerprint")))
    assert found.status == "problem" and found.saw.startswith("LAMPIT_SNAPSHOT_URL cannot be written (")
