"""`lampit rotate` and the link that `lampit audit verify` checks: what is done, what is refused, what is found."""

from __future__ import annotations

import json
import logging
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agents import segments
from agents.archive_books import Books
from agents.archive_files import Files
from agents.errors import LampitError
from agents.settings import Settings
from agents.signing import Signer, is_signed, signed
from agents.topics import LEDGER
from lampit import reference
from lampit.audit.archive import Archive, Filter
from lampit.audit.checks import NOTHING
from lampit.audit.finding import Finding, Trust
from lampit.audit.verify import verify
from lampit.broker import free_port
from lampit.cli import lampit
from lampit.rotate import _summary
from lampit.rotation import Rotation
from lampit.rotation_plan import events_behind, plan
from stream.archive import SUCCESSION, Header, Succession, encode_line, read_succession, statement
from stream.events import NikChange
from stream.ledger import (
    Day,
    Epoch,
    EpochSettings,
    Genesis,
    Predecessor,
    control_key,
    decode_record,
    encode_control,
)
from stream.pseudonym import Pseudonymiser
from stream.rotation import turned_round
from stream.rules import RULES_VERSION
from tests import archives
from tests.archives import SIGNER, LogRecord, contents
from tests.counters import KEY
from tests.rotations import NEW_KEY, OLD, archived, fitting_key, made, rotate
from tests.scenario_files import load_scenarios

STORIES = load_scenarios()
MERGING = [one for one in STORIES if any(event["type"] == "lampit.nik_change.v1" for event in one.events)]
EVENTS = [event for scenario in (*STORIES[:25], *MERGING[:15]) for event in scenario.events]
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(b"another signing key of the tests"))
Json = dict[str, Any]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The archive of a ledger at rest."""
    return archived(tmp_path_factory.mktemp("old") / "archive", made(EVENTS, 3, random.Random(1)), 30)


@pytest.fixture(scope="module")
def key(old: Archive) -> bytes:
    """The new key."""
    return fitting_key(old)


@pytest.fixture(scope="module")
def rotated(old: Archive, key: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same under a newer key."""
    folder = tmp_path_factory.mktemp("new") / "archive"
    rotate(old, folder, key)
    return folder


@pytest.fixture
def copy(rotated: Path, tmp_path: Path) -> Path:
    """Of the rotated archive, to be spoilt."""
    for name, content in contents(rotated).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    return tmp_path / "copy"


@pytest.fixture
def keys(key: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the new key; the key that signs is set."""
    private = Ed25519PrivateKey.from_private_bytes(b"a signing key only for the tests")
    (tmp_path / "archive.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "new.key").write_bytes(key + b"\n")
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.setenv("LAMPIT_ARCHIVE_SEGMENT_RECORDS", "40")
    return tmp_path


def run(old: Archive, keys: Path, *arguments: str | Path) -> Result:
    command = ["rotate", "--archive", old.files.url, "--new-key", str(keys / "new.key")]
    return CliRunner().invoke(lampit, [*command, *map(str, arguments)])


def found(new: Path, old: Archive | None) -> list[Finding]:
    return verify(Archive.open(str(new)), NOTHING, previous=old).findings


def test_the_command_rotates_and_says_what(old: Archive, key: bytes, rotated: Path, keys: Path) -> None:
    before = contents(Path(old.files.url))
    dry = run(old, keys, "--to", keys / "new", "--dry-run", "--json")
    assert dry.exit_code == 0 and not (keys / "new").exists()
    done = run(old, keys, "--to", keys / "new", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["copies"] > 0
    assert {**json.loads(dry.stdout), "dry_run": False} == {
        name: value for name, value in said.items() if name not in ("copies", "seconds")
    }
    assert (said["persons"], said["keys"], said["partitions"]) == (plan(old, Pseudonymiser(key)).persons, 2, 3)
    assert said["key_fingerprint"] == Pseudonymiser(KEY, key).fingerprint
    # The same rotation makes the same bytes, whoever runs it.
    assert contents(keys / "new") == contents(rotated)
    assert contents(Path(old.files.url)) == before
    verified = CliRunner().invoke(
        lampit, ["audit", "verify", "--archive", str(keys / "new"), "--previous", old.files.url]
    )
    assert verified.exit_code == 0
    assert f"{said['persons']:,} persons with the same events" in verified.stdout
    again = run(old, keys, "--to", keys / "new")
    assert again.exit_code == 2 and "finished rotation" in again.output


def test_what_is_secret_in_the_url_is_not_in_the_summary(old: Archive, key: bytes) -> None:
    url = "s3://name:secret@bucket/prefix?endpoint_override=127.0.0.1:9000"
    assert _summary(plan(old, Pseudonymiser(key)), url)["to"] == "s3://bucket/prefix"


def test_a_place_that_cannot_be_written_is_wrong_usage(old: Archive, keys: Path) -> None:
    place = keys / "new.key" / "archive"
    refused = run(old, keys, "--to", place)
    assert refused.exit_code == 2
    assert f"--to {place} cannot be written (Not a directory, ledger/partition=0000" in refused.output


def test_a_run_that_was_killed_is_taken_up_again(old: Archive, key: bytes, rotated: Path, tmp_path: Path) -> None:
    """At every fifth write, of segments and manifests; the files are those of a run in one go."""

    class Killed(Exception):
        pass

    class MortalFiles(Files):
        left = 4

        def put(self, name: str, content: bytes) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1
            super().put(name, content)

    kills = 0
    while True:
        try:
            rotate(old, tmp_path / "new", key, MortalFiles(str(tmp_path / "new")))
            break
        except Killed:
            kills += 1
    assert kills > 3
    assert contents(tmp_path / "new") == contents(rotated)


def test_a_place_that_holds_something_else_is_refused(old: Archive, keys: Path) -> None:
    for place in (old.files.url, keys / "half"):
        if place != old.files.url:
            Books(Files(str(place)), Header("another", LEDGER, 0), SIGNER).write(_one_record(), 0)
        refused = run(old, keys, "--to", place)
        assert refused.exit_code == 2
        assert "holds another archive" in refused.output


def _one_record() -> Any:
    return segments.records_table([LogRecord(0, 0, b"key", b"value")])


def test_settings_that_are_missing_or_wrong_are_one_sentence(
    old: Archive, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: str | Path) -> str:
        result = run(old, keys, "--to", keys / "new", *arguments)
        assert result.exit_code == 2
        return result.output

    (keys / "new.key").write_bytes(KEY)
    assert "--new-key is one that this ledger has" in refused()
    (keys / "new.key").write_bytes(b"short")
    assert "--new-key is too short" in refused()
    (keys / "new.key").unlink()
    assert "--new-key cannot be read" in refused()
    (keys / "new.key").write_bytes(NEW_KEY)
    monkeypatch.delenv("LAMPIT_ARCHIVE_KEY_FILE")
    assert "LAMPIT_ARCHIVE_KEY_FILE is not set" in refused()
    assert not (keys / "new").exists()


def test_no_broker_is_one_sentence(old: Archive, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a process of its own: pytest puts some there
    nobody = f"127.0.0.1:{free_port()}"
    refused = run(old, keys, "--to", keys / "new", "--bootstrap", nobody)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"Nothing can be read from {nobody}")
    assert len(refused.stderr.splitlines()) == 1


def test_a_ledger_far_ahead_of_the_archive_is_counted_without_being_held(
    old: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of last year beside a ledger of today: 40 fetches of events, of which one at a time is in memory."""
    genesis = next(old.records())
    event = next(one for one in old.records() if one.key is not None and b"|" not in one.key)
    assert event.value is not None
    content = event.value

    async def stretch(
        _: Any, topic: str, begins: Json, ends: Json | None = None
    ) -> AsyncIterator[tuple[int, list[Any]]]:
        if ends is not None:
            yield 0, [genesis]
            return
        for _ in range(40):
            yield event.partition, [event._replace(value=content + b" " * 1_000) for _ in range(100)]

    monkeypatch.setattr("lampit.audit.log.stretch", stretch)
    tracemalloc.start()
    assert events_behind(old, Settings()) == 4_000
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 1_500_000


def test_a_key_of_a_ledger_that_was_rotated_is_refused(key: bytes, rotated: Path, keys: Path) -> None:
    """The newest one, left in place by mistake, and the first: whoever got hold of it would go on knowing one of the keys."""
    for known in (key, KEY):
        (keys / "new.key").write_bytes(known)
        refused = run(Archive.open(str(rotated)), keys, "--to", keys / "new", "--dry-run")
        assert refused.exit_code == 2
        assert "--new-key is one that this ledger has" in refused.output


def test_an_archive_that_is_not_at_rest_or_not_in_order_is_refused(keys: Path) -> None:
    def refused(folder: Path) -> str:
        result = run(Archive.open(str(folder)), keys, "--to", keys / "new")
        assert result.exit_code == 1 and not (keys / "new").exists()
        return result.output

    logs = made(EVENTS[:30], 2, random.Random(2))
    archived(keys / "one", {0: logs[0][:-3], 1: logs[1]}, 1)
    assert "same business day in every partition" in refused(keys / "one")
    late = {number: list(log) for number, log in logs.items()}
    late[0].append(LogRecord(late[0][-1].offset + 1, late[0][-1].timestamp, *_last_event(late[0])))
    archived(keys / "two", late, 1)
    assert "1 events behind its last business day" in refused(keys / "two")
    archived(keys / "three", logs)
    segment = max((keys / "three").rglob("*.parquet"), key=lambda path: path.stat().st_size)
    segment.write_bytes(segment.read_bytes()[:-9])
    assert "not in order" in refused(keys / "three")


def test_an_epoch_begun_behind_the_last_turn_is_the_one_gone_on_from(tmp_path: Path) -> None:
    """As an upgrade begins it: the archive has it where segments are small."""
    logs = made(EVENTS[:30], 2, random.Random(2))
    epoch = Epoch(2, RULES_VERSION, EpochSettings(transit_expiry_days=30), reference.load().digest)
    for log in logs.values():
        at = log[-1].timestamp + 1
        log.append(LogRecord(log[-1].offset + 1, at, control_key(epoch), encode_control(epoch, at * 1000)))
    before = archived(tmp_path / "old", logs, 1)
    rotate(before, tmp_path / "new", fitting_key(before))
    assert not found(tmp_path / "new", before)
    for partition in logs:
        *_, begun, turned = Archive.open(str(tmp_path / "new")).records(Filter({partition}))
        assert decode_record(begun.value or b"").control == msgspec.structs.replace(epoch, epoch=3)  # type: ignore[union-attr]
        assert isinstance(decode_record(turned.value or b"").control, Day)  # type: ignore[union-attr]


def _last_event(log: list[LogRecord]) -> tuple[bytes | None, bytes | None]:
    record = next(one for one in reversed(log) if one.key is not None and b"|" not in one.key)
    return record.key, record.value


def test_the_genesis_records_prove_the_chain_of_keys(key: bytes, rotated: Path, tmp_path: Path) -> None:
    """Twice rotated: by the new key over the old fingerprint, without any older key."""
    both = Pseudonymiser(KEY, key).fingerprint
    assert _genesis(rotated).key_fingerprint == Pseudonymiser(key)(OLD.fingerprint) == both
    archive = Archive.open(str(rotated))
    third = fitting_key(archive, 1000)
    rotate(archive, tmp_path / "third", third)
    last = _genesis(tmp_path / "third")
    assert last.key_fingerprint == Pseudonymiser(KEY, key, third).fingerprint
    assert isinstance(last.succeeds, Predecessor)
    assert (last.keys, last.succeeds.ledger_id) == (3, archive.header(0).ledger_id)
    assert not found(tmp_path / "third", archive)
    wrong = [(key,), (KEY,), (key, KEY), (KEY, key, third)]
    assert both not in {Pseudonymiser(*keys).fingerprint for keys in wrong}


def _genesis(folder: Path) -> Genesis:
    decoded = decode_record(next(Archive.open(str(folder)).records()).value or b"")
    assert isinstance(decoded.control, Genesis)  # type: ignore[union-attr]
    return decoded.control  # type: ignore[union-attr]


def _edit(change: Callable[[Succession], Succession], signer: Signer | None = None) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        said = change(read_succession((folder / SUCCESSION).read_bytes()))
        (folder / SUCCESSION).write_bytes(encode_line(signed(said, signer) if signer else said))

    return edit


def _other_head(said: Succession) -> Succession:
    head = msgspec.structs.replace(said.heads[0], head="0" * 64)
    return msgspec.structs.replace(said, heads=(head, *said.heads[1:]))


def _other_old_head(said: Succession) -> Succession:
    head = msgspec.structs.replace(said.succeeds[0], next_offset=said.succeeds[0].next_offset + 1)
    return msgspec.structs.replace(said, succeeds=(head, *said.succeeds[1:]))


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / SUCCESSION).unlink(), "is missing"),
    "no JSON": (lambda folder: (folder / SUCCESSION).write_bytes(b"{}"), "cannot be read"),
    "other spelling": (
        lambda folder: (folder / SUCCESSION).write_bytes(b" " + (folder / SUCCESSION).read_bytes()),
        "not as it was written",
    ),
    "other numbers": (_edit(lambda said: msgspec.structs.replace(said, persons=said.persons + 1)), "not signed"),
    "signed by another": (_edit(lambda said: said, OTHER), "not signed"),
    "another new head": (_edit(_other_head, SIGNER), "is not in the archive"),
    "another old head": (_edit(_other_old_head, SIGNER), "otherwise than the genesis"),
    "another ledger": (
        _edit(lambda said: msgspec.structs.replace(said, ledger_id="x"), SIGNER),
        "otherwise than the genesis",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_statement_that_was_tampered_with_is_found(old: Archive, copy: Path, name: str) -> None:
    """Also without the old archive."""
    assert is_signed(read_succession((copy / SUCCESSION).read_bytes()))
    assert not found(copy, None)
    spoil, message = SPOILT[name]
    spoil(copy)
    findings = found(copy, None)
    assert {one.kind for one in findings} == {"succession"}
    assert message in findings[0].message


def test_an_old_archive_that_is_not_the_one_named_is_found(old: Archive, rotated: Path, tmp_path: Path) -> None:
    logs = made(EVENTS, 3, random.Random(1))
    for number, log in logs.items():
        day = Day((archives.FIRST_DAY + timedelta(days=90 + number)).toordinal())
        log.append(LogRecord(log[-1].offset + 1, log[-1].timestamp, control_key(day), encode_control(day, 0)))
    grown = archived(tmp_path / "grown", logs, 30)
    assert "last head of the previous archive is not the one" in found(rotated, grown)[0].message
    segment = next((tmp_path / "grown").rglob("*.parquet"))
    segment.write_bytes(b"nothing")
    assert found(rotated, grown)[0].message.startswith("In the previous archive: ")
    assert "does not succeed" in found(Path(old.files.url), grown)[0].message


def test_heads_of_the_ledger_before_are_no_fault(old: Archive, rotated: Path) -> None:
    """They stay published, and the new ledger has none before its first day."""
    heads = [statement(old.header(number), entry) for number in old.partitions() for entry in old.segments(number)]
    report = verify(Archive.open(str(rotated)), Trust(heads=heads))
    assert report.is_ok and report.heads == 0


def test_events_that_changed_hands_are_found(old: Archive, key: bytes, tmp_path: Path) -> None:
    """Signed as it should be, linked as it should be: but people became one."""
    rename = Pseudonymiser(key)

    def joining(text: str, /) -> str:
        """Everybody whose id begins with 0 to 3 is one person."""
        return rename("0" * 32 if text[0] in "0123" and len(text) == 32 else text)

    Rotation(plan(old, rename), Files(str(tmp_path)), joining, SIGNER, 40).run(lambda done: None)
    (finding,) = found(tmp_path, old)
    assert "persons have other events" in finding.message


def test_changes_of_nik_that_only_the_order_of_ids_decides(tmp_path: Path) -> None:
    """A key that would decide otherwise is refused; half of all keys will do."""

    def change(new: str, name: str = "c") -> NikChange:
        return NikChange(source="/siak/1605", id=name, time=5, occurred_on=737_000, new_subject=new)

    a, b, c, d = (OLD(name) for name in "abcd")
    rivals = [(a, change(b)), (a, change(c)), (a, change(d, "other")), (d, change(b, "third"))]
    outcomes = {}
    for number in range(64):
        rename = Pseudonymiser(b"one of many keys, of thirty-two bytes or more %d" % number)
        kept = (b < c) == (rename(b) < rename(c))
        outcomes[kept] = turned_round(rivals, rename)
        assert outcomes[kept] == ([] if kept else [("/siak/1605", "c")])
    assert len(outcomes) == 2
    # The same name under people of different families decides nothing.
    for number in range(8):
        assert not turned_round([(a, change(b)), (c, change(d))], Pseudonymiser(NEW_KEY + b"%d" % number))


def test_a_key_that_would_change_a_figure_is_refused(tmp_path: Path) -> None:
    niks = [f"160502410180000{number}" for number in range(3)]
    events = [
        {
            "specversion": "1.0",
            "id": "one",
            "source": "/siak/1605",
            "type": "lampit.nik_change.v1",
            "time": "2019-03-02T10:00:00+07:00",
            "data": {"nik": niks[0], "occurred_on": "2019-03-02", "new_nik": new},
        }
        for new in niks[1:]
    ]
    archive = archived(tmp_path / "old", made(events, 2, random.Random(1)))
    said = set()
    for number in range(32):
        rename = Pseudonymiser(b"one of many keys, of thirty-two bytes or more %d" % number)
        try:
            plan(archive, rename)
            said.add("")
        except LampitError as refused:
            said.add(str(refused))
    assert len(said) == 2
    assert any("make another key" in one for one in said)


def test_the_writer_of_these_tests_writes_what_rotation_needs(tmp_path: Path) -> None:
    """Days that some partitions skip, days told twice, copies: else the tests above show less than they say."""
    logs = made(EVENTS, 3, random.Random(1))
    days = [[json.loads(one.value or b"")["id"] for one in log if one.key == b"control|day"] for log in logs.values()]
    assert any(len(set(of_one)) < len(of_one) for of_one in days)
    assert any(b'"forwardedfrom"' in (record.value or b"") for log in logs.values() for record in log)
