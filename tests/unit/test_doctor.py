"""`lampit doctor` without a broker: what it says of this machine, and of addresses that are none."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from click.testing import CliRunner, Result

from agents.barrier import LedgerIdentity, rules_of
from agents.damage import noting_damage
from agents.errors import DamagedStore
from agents.settings import Settings, load_settings
from agents.signing import make_key
from agents.store import FORMAT, Meta, Store
from agents.topics import LEDGER
from lampit import reference
from lampit.broker import free_port
from lampit.cli import lampit
from lampit.doctor import cluster, local
from lampit.doctor.cluster import Log
from lampit.doctor.findings import Finding, ok
from stream.ledger import Genesis
from stream.partials import HeadRecord
from tests.archives import LEDGER_ID, ledger, write
from tests.rights import as_somebody_else, closed_folder

DAY = date(2024, 1, 1)

pytestmark = pytest.mark.usefixtures("broker_down")


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(lampit, ["doctor", "--broker-seconds", "0.1", *arguments])


def found() -> dict[str, dict[str, Any]]:
    """What was found, by name of the check."""
    return {one["check"]: one for one in json.loads(doctor("--json").stdout)["checks"]}


@pytest.mark.parametrize(
    "address", ["foo", "127.0.0.1:6066", "http://", "http://a host:6066", "ftp://host:21", "http://host:65536"]
)
def test_an_address_that_is_none_is_wrong_usage(address: str) -> None:
    refused = doctor("--process", address)
    assert refused.exit_code == 2
    assert f"{address!r} is no address of a process: write it as http://HOST:PORT." in refused.output


def test_a_process_that_does_not_run_is_a_finding() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    shown = doctor("--process", address)
    assert shown.exit_code == 1
    assert f"process {address}" in shown.output and "see that it runs and listens there" in shown.output


def test_the_key_that_signs_is_looked_at_where_there_is_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "archive key" not in found()
    write(tmp_path / "archive", ledger(100, 1, 1), 50)
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    unset = found()
    assert unset["archive"]["status"] == unset["archive key"]["status"] == "ok"
    assert "right where no archive worker runs" in unset["archive key"]["saw"]
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    missing = found()["archive key"]
    assert (missing["status"], missing["saw"]) == (
        "problem",
        "The file named by LAMPIT_ARCHIVE_KEY_FILE cannot be read (No such file or directory)",
    )
    assert "keygen" in missing["todo"]
    (tmp_path / "archive.key").write_text("no key")
    assert found()["archive key"]["status"] == "problem"
    (tmp_path / "archive.key").unlink()
    make_key(tmp_path / "archive.key", tmp_path / "archive.key.pub")
    assert found()["archive key"]["status"] == "ok"


def test_a_missing_archive_is_told_by_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "nothing"))
    said = found()["archive"]
    assert (said["status"], said["saw"]) == ("problem", "LAMPIT_ARCHIVE_URL holds no archive of lampit.ledger")


@pytest.mark.parametrize(("end", "status"), [(50, "warning"), (51, "problem")])
def test_an_archive_is_missed_only_once_the_log_has_more_than_a_segment(tmp_path: Path, end: int, status: str) -> None:
    """Seconds after the first start the ledger has been begun, and the archive's first segment is far from complete."""
    (tmp_path / "archive").mkdir()
    settings = load_settings(archive_url=str(tmp_path / "archive"), archive_segment_records=50)
    found = local._archive(settings, Log({0: end, 1: 4}, Genesis("ours", 2, 0, "fingerprint")))
    assert found.status == status


@pytest.mark.parametrize(("end_now", "status"), [(10_000, "ok"), (5, "problem")])
def test_a_log_that_goes_on_meanwhile_was_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_now: int, status: str
) -> None:
    """A store and an archive are looked at seconds after the log was asked where it ends; by then they may hold more."""

    async def end_offset(settings: Settings, topic: str, partition: int) -> int:
        return end_now

    write(tmp_path / "archive", ledger(100, 1, 1), 50)
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    (tmp_path / "data/ledger/partition-0").mkdir(parents=True)
    settings = Settings()
    identity = LedgerIdentity(LEDGER_ID, settings.partitions, rules_of(settings), reference.load().digest)
    meta = Meta(FORMAT, LEDGER_ID, 0, identity.settings_digest, next_offset=50)
    monkeypatch.setattr(local, "read_meta", lambda path, notes: meta)
    monkeypatch.setattr(local, "end_offset", end_offset)
    log = Log({0: 5}, Genesis(LEDGER_ID, settings.partitions, 0, "fingerprint"))
    found = {one.check: one for one in local.check(settings, log, ())}
    assert (found["store 0"].status, found["archive"].status) == (status, status)


@pytest.mark.parametrize("last_offset", [-1, 4])
def test_a_broker_that_goes_while_stores_are_looked_at_is_a_finding_among_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_offset: int
) -> None:
    """Nobody listens any more where the log ended. Before, that was an error, and nothing that was found was shown."""
    write(tmp_path / "archive", ledger(100, 1, 1), 50)
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    (tmp_path / "data/ledger/partition-0").mkdir(parents=True)
    settings = Settings()
    identity = LedgerIdentity(LEDGER_ID, settings.partitions, rules_of(settings), reference.load().digest)
    # The end is asked again of a log that is shorter than the store, the record at its last offset of any.
    held = 5 if last_offset >= 0 else 50
    meta = Meta(FORMAT, LEDGER_ID, 0, identity.settings_digest, 1, held, last_offset, b"digest")
    monkeypatch.setattr(local, "read_meta", lambda path, notes: meta)
    log = Log({0: 5}, Genesis(LEDGER_ID, settings.partitions, 0, "fingerprint"))
    found = {one.check: one for one in local.check(settings, log, ())}
    for check in ("store 0", "archive"):
        assert found[check].status == "problem"
        assert "the brokers did not answer what the log has there (KafkaConnectionError)" in found[check].saw
    assert found["disk"].status and found["archive key"].status == "ok"


@pytest.mark.parametrize(("waiting", "status"), [(50_000, "ok"), (60_001, "warning")])
def test_what_waits_for_the_end_of_its_segment_is_not_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waiting: int, status: str
) -> None:
    """An archive worker commits what is in segments; the ledger's group is behind with as much."""
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    tp = TopicPartition(LEDGER, 0)

    async def ends(settings: Settings, admin: Any, topics: set[str]) -> dict[TopicPartition, int]:
        return {tp: 50_000 + waiting}

    async def genesis(settings: Settings, ends: Any) -> tuple[Finding, None]:
        return ok("genesis", ""), None

    async def clock(settings: Settings, ends: Any) -> Finding:
        return ok("clock", "")

    class Admin:
        """Of groups that have one member each, and committed the end of the first segment."""

        def list_group_offsets(self, groups: list[str]) -> Any:
            return {groups[0]: {tp: SimpleNamespace(offset=50_000)}}

        def describe_groups(self, groups: list[str]) -> Any:
            return {groups[0]: {"members": [1]}}

    monkeypatch.setattr(cluster, "_ends", ends)
    monkeypatch.setattr(cluster, "_genesis", genesis)
    monkeypatch.setattr(cluster, "_clock", clock)
    found: list[Finding] = []
    asyncio.run(cluster._read(load_settings(), Admin(), {LEDGER, "__consumer_offsets"}, found))
    of = {one.check: one.status for one in found}
    assert (of["group lampit.archive"], of["group lampit.ledger"]) == (status, "warning")


def test_settings_are_held_against_the_heads_of_the_newest_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    ours = LedgerIdentity("any", 4, rules_of(settings), reference.load().digest).settings_name

    def said(*heads: tuple[int, str | None]) -> Finding:
        async def newest_heads(settings: Settings) -> dict[int, HeadRecord]:
            told = (HeadRecord(number, epoch, 8, DAY, None, name) for number, (epoch, name) in enumerate(heads))
            return {head.partition: head for head in told}

        monkeypatch.setattr(cluster, "newest_heads", newest_heads)
        return asyncio.run(cluster._epoch(settings))

    assert said().status == said((1, None)).status == "ok"
    assert said((1, "0123abcd"), (2, ours), (2, None)).saw.startswith("epoch 2 is counted under these settings")
    told = said((1, ours), (2, "0123abcd"))
    assert told.status == "problem" and "LAMPIT_CLOSING_DAY" in told.todo and "lampit epoch" in told.todo

    async def refused(settings: Settings) -> dict[int, HeadRecord]:
        raise TopicAuthorizationFailedError  # only the roll-up need have that right

    monkeypatch.setattr(cluster, "newest_heads", refused)
    assert asyncio.run(cluster._epoch(settings)).status == "ok"


def said_of_a_store(*, epoch_differs: bool = False) -> Finding:
    """What is said of the store of partition 0, of a ledger of its own."""
    settings = load_settings()
    path = local.store_folders(settings.data_dir).get(0, settings.data_dir / "ledger" / "partition-0")
    digest = LedgerIdentity("ours", 4, rules_of(settings), reference.load().digest).settings_digest
    if not path.exists():
        store = Store(path)
        store.meta = Meta(FORMAT, "ours", 0, digest, epoch=2, epoch_differs=epoch_differs)
        store.go_on_at(8)
        store.close()
    log = Log({0: 8}, Genesis("ours", 4, 0, ""))
    (found,) = [one for one in local.check(settings, log, ()) if one.check == "store 0"]
    return found


def test_a_store_whose_worker_will_end_because_of_the_epoch_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = said_of_a_store(epoch_differs=True)
    assert found.status == "problem" and "lampit epoch" in found.todo
    # With these it may be the other way round, which only the log tells.
    monkeypatch.setenv("LAMPIT_LEAP_BIRTHDAY", "feb28")
    found = said_of_a_store()
    assert found.status == "warning" and "lampit epoch" in found.todo


def test_a_store_that_will_be_set_aside_is_told(tmp_path: Path) -> None:
    assert said_of_a_store().status == "ok"
    with pytest.raises(DamagedStore), noting_damage(tmp_path / "data" / "ledger" / "partition-0"):
        raise OSError("Corruption: block checksum mismatch")
    found = said_of_a_store()
    assert found.status == "warning" and "sets it aside" in found.todo


@pytest.mark.parametrize("closed", ["store", "folder"])
def test_nobody_is_told_to_delete_a_store_that_only_others_may_read(
    monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to others
        Path(name).chmod(0o755)
        data = Path(name) / "data"
        path = data / "ledger" / "partition-0"
        Store(path).close()
        # rocksdict's own file, which it writes whenever it opens a store.
        path.joinpath("rocksdict-config.json").chmod(0o444)
        monkeypatch.setenv("LAMPIT_DATA_DIR", str(data))
        local.check(load_settings(), None, ())  # imports what it needs
        data.joinpath("ledger").chmod(0o755 if closed == "store" else 0o000)
        with as_somebody_else():
            said = local.check(load_settings(), None, ())
        data.joinpath("ledger").chmod(0o755)
        assert path.joinpath("CURRENT").exists()
    (found,) = [one for one in said if one.check.startswith("store")]
    assert found.status == "warning" and "this user may not" in found.saw
    assert found.todo == "ask again as the user that the ledger worker runs as"


def test_a_data_directory_that_this_user_may_not_see_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_folder() as folder:
        monkeypatch.setenv("LAMPIT_DATA_DIR", str(folder / "data"))
        local.check(load_settings(), None, ())  # imports what it needs
        with as_somebody_else():
            said = {one.check: one for one in local.check(load_settings(), None, ())}
        monkeypatch.setenv("LAMPIT_CONFIG", str(folder / "lampit.toml"))
        with as_somebody_else():
            assert found()["settings"]["saw"] == "LAMPIT_CONFIG names no readable file"
    assert said["disk"].status == "ok"
    assert said["stores"].saw == f"this user may not look into {folder / 'data'}"


@pytest.mark.parametrize("missing", ["LAMPIT_ARCHIVE_URL", "LAMPIT_ARCHIVE_KEY_FILE"])
def test_an_archive_worker_looks_at_its_settings_before_it_asks_a_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """There is none here: asked first, it would be what is told."""
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    refused = CliRunner().invoke(lampit, ["run", "archive"])
    assert refused.exit_code == 2
    assert "LAMPIT_ARCHIVE_KEY_FILE cannot be read" in refused.output
    monkeypatch.delenv(missing)
    refused = CliRunner().invoke(lampit, ["run", "archive"])
    assert refused.exit_code == 2
    assert refused.output.startswith(f"{missing} is not set: ")
