"""`lampit audit verify`: what it says of an archive in order, of one that is not, and of figures that do not follow from it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agents.signing import make_key
from lampit import reference
from lampit.audit.archive import Archive, on_disk
from lampit.audit.archive_source import ArchiveSource
from lampit.audit.finding import Trust
from lampit.audit.verify import Report, verify
from lampit.broker import free_port
from lampit.cli import lampit
from schemas.head import HeadRecord
from stream.archive import encode_line, write_manifest
from stream.archive_tree import head
from stream.engine import Engine
from stream.ledger import Epoch, EpochSettings, LedgerRecord, control_key, decode_record, encode_control, encode_record
from stream.rules import RULES_VERSION, Rules
from tests.archives import FIRST_DAY, SIGNER, LogRecord, contents, ledger, write

DAYS = 3
SEGMENT = 100


def in_epoch(logs: dict[int, list[LogRecord]]) -> dict[int, list[LogRecord]]:
    """The logs with an epoch of the region reference that this version has."""
    epoch = Epoch(1, RULES_VERSION, EpochSettings(), reference.load().digest)
    for log in logs.values():
        log[1] = LogRecord(log[1].offset, log[1].timestamp, control_key(epoch), encode_control(epoch, 0))
    return logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    write(path, in_epoch(ledger(900, 2, DAYS)), SEGMENT)
    return path


def verified(folder: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(lampit, ["audit", "verify", "--archive", str(folder), *map(str, arguments)])


def as_json(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    result = verified(folder, *arguments, "--json")
    report: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if report["ok"] else 1)
    return report


def figures(archive: Archive, upto: dict[int, int]) -> list[dict[str, Any]]:
    """Coverage as the roll-up publishes it, counted by the engine."""
    engine = Engine(Rules(), reference.load())
    for record in archive.records():
        decoded = decode_record(record.value or b"")
        if isinstance(decoded, LedgerRecord) and record.offset < upto[record.partition]:
            engine.add(decoded.subject, decoded.event)
    position = {str(partition): offset for partition, offset in upto.items()}
    count = engine.count(FIRST_DAY + timedelta(days=DAYS - 1))
    return [{**record, "epoch": 1, "position": position} for record in count.regions]


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_an_archive_in_order(folder: Path) -> None:
    report = as_json(folder)
    assert report["ok"] and report["findings"] == [] and report["id_reused"] == []
    assert report.keys() == {"ok", *Report.__dataclass_fields__}
    assert [one["partition"] for one in report["partitions"]] == [0, 1]
    assert sum(one["records"] for one in report["partitions"]) == len(list(Archive.open(str(folder)).records()))
    shown = verified(folder)
    assert shown.exit_code == 0
    assert "complete and unaltered" in shown.stdout
    assert "figures:   not compared: no figures were given" in shown.stdout


def test_the_first_thing_that_differs_is_named_and_the_exit_code_is_1(folder: Path) -> None:
    entry = Archive.open(str(folder)).segments(1)[2]
    path = folder / "ledger" / "partition=00001" / entry.file
    path.write_bytes(path.read_bytes()[:-1])
    shown = verified(folder)
    assert shown.exit_code == 1
    assert (
        f"first: partition 1, offsets {entry.first} to {entry.last}, ledger/partition=00001/{entry.file}"
        in shown.stdout
    )
    assert "NOT in order" in shown.stdout
    assert as_json(folder)["findings"][0]["kind"] == "altered"


def test_figures_that_follow_from_it_are_equal(folder: Path, tmp_path: Path) -> None:
    archive = Archive.open(str(folder))
    barrier = archive.barrier()
    assert barrier is not None
    coverage = write_lines(tmp_path / "coverage.jsonl", figures(archive, dict(barrier.next_offsets)))
    found = as_json(folder, "--coverage", coverage)["agreement"]
    assert (found["status"], found["as_of"], found["differences"]) == ("equal", "2019-03-22", [])
    assert found["regions"] > 20


def test_one_person_more_in_one_village_differs(folder: Path, tmp_path: Path) -> None:
    archive = Archive.open(str(folder))
    barrier = archive.barrier()
    assert barrier is not None
    records = figures(archive, dict(barrier.next_offsets))
    village = next(record for record in records if record["level"] == "village" and record["obliged"]["total"])
    village["obliged"] = {
        **village["obliged"],
        "M": village["obliged"]["M"] + 1,
        "total": village["obliged"]["total"] + 1,
    }
    report = as_json(folder, "--coverage", write_lines(tmp_path / "coverage.jsonl", records))
    assert not report["ok"]
    (difference,) = report["agreement"]["differences"]
    assert difference.startswith(f"{village['region']} obliged: published {village['obliged']['total']} (M ")


def test_figures_beyond_the_archive_are_not_compared(folder: Path, tmp_path: Path) -> None:
    archive = Archive.open(str(folder))
    ends = archive.next_offsets()
    records = figures(archive, ends)
    for record in records:
        record["position"]["0"] += 500
        record["population"]["total"] += 1
    report = as_json(folder, "--coverage", write_lines(tmp_path / "coverage.jsonl", records))
    assert report["ok"] and report["agreement"]["status"] == "skipped"
    assert f"the archive ends at {ends[0]}" in report["agreement"]["reason"]


def test_published_heads_and_keys_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    archive = Archive.open(str(folder))
    heads = [
        encode_line(head(archive.header(number), entry, line))
        for number in archive.partitions()
        for entry, line in zip(archive.segments(number), archive.tree(number)[1], strict=True)
        if entry.day
    ]
    assert {HeadRecord.model_validate_json(head).key for head in heads} == {SIGNER.public}
    file = tmp_path / "heads.jsonl"
    file.write_bytes(b"\n".join(heads))
    assert as_json(folder, "--heads", file)["heads"] == 2 * DAYS
    other = CliRunner().invoke(lampit, ["audit", "keygen", str(tmp_path / "other.key"), "--json"])
    assert other.exit_code == 0
    report = as_json(folder, "--heads", file, "--public-key", json.loads(other.stdout)["public"])
    assert {one["kind"] for one in report["findings"]} == {"signature", "head", "tree"}
    manifest = folder / "ledger/partition=00000/manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:2]))
    assert {one["kind"] for one in as_json(folder, "--heads", file)["findings"]} == {"head", "extra", "tree"}


def test_heads_of_another_ledger_are_not_said_to_have_been_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the true key gives the ledger another name, and changes in it what they want."""
    published = CliRunner().invoke(lampit, ["audit", "heads", "--archive", str(folder)]).stdout_bytes
    file = tmp_path / "heads.jsonl"
    file.write_bytes(published)
    monkeypatch.setattr("tests.archives.LEDGER_ID", "another")
    write(tmp_path / "other", in_epoch(ledger(800, 2, DAYS)), SEGMENT)
    report = as_json(tmp_path / "other", "--heads", file)
    assert report["heads"] == 0
    assert [one["message"] for one in report["findings"]] == ["Every head that was published is of another ledger."]
    own = CliRunner().invoke(lampit, ["audit", "heads", "--archive", str(tmp_path / "other")]).stdout_bytes
    file.write_bytes(published + own)
    report = as_json(tmp_path / "other", "--heads", file)
    assert report["ok"] and report["heads"] == 2 * DAYS


def test_what_is_secret_in_the_url_is_not_in_the_report(folder: Path) -> None:
    archive = Archive.open(str(folder))
    archive.files.url = "s3://name:secret@bucket/prefix?endpoint_override=127.0.0.1:9000"
    assert verify(archive, Trust()).archive == "s3://bucket/prefix"


def begun(folder: Path) -> Archive:
    """An archive whose manifests were read, and with which its worker then went on."""
    logs = in_epoch(ledger(900, 2, DAYS))
    write(folder, {number: [record for record in log if record.offset < 200] for number, log in logs.items()}, 50)
    archive = Archive.open(str(folder))
    assert all(archive.segments(number) for number in archive.partitions())
    write(folder, logs, 50)
    return archive


def test_an_archive_that_is_written_on_meanwhile_is_in_order(tmp_path: Path) -> None:
    """Of a large one it takes hours to come to the last partition."""
    archive = begun(tmp_path)
    assert verify(archive, Trust()).findings == []
    assert archive.next_offsets() == Archive.open(str(tmp_path)).next_offsets()


def test_a_copy_of_an_archive_that_is_written_on_meanwhile_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, opened = begun(tmp_path), Archive.open
    archive.files.is_local = False
    with on_disk(archive) as copy:
        assert list(copy.records()) == list(archive.records())
    monkeypatch.setattr(Archive, "open", lambda url, *told: archive if url == "s3://bucket" else opened(url, *told))
    with ArchiveSource("s3://bucket") as source:
        assert list(source.archive.records()) == list(archive.records())


def test_a_missing_partition_is_named(folder: Path) -> None:
    for path in sorted((folder / "ledger/partition=00001").iterdir()):
        path.unlink()
    (folder / "ledger/partition=00001").rmdir()
    (finding,) = as_json(folder)["findings"]
    assert (finding["kind"], finding["partition"]) == ("missing", 1)


@pytest.mark.parametrize("name", ["partition=1", "partition=٣", "another"])
def test_a_folder_that_is_put_in_is_found_and_not_read(folder: Path, name: str) -> None:
    before = list(Archive.open(str(folder)).records())
    shutil.copytree(folder / "ledger/partition=00001", folder / "ledger" / name)
    (finding,) = as_json(folder)["findings"]
    assert (finding["kind"], finding["file"]) == ("extra", f"ledger/{name}")
    assert list(Archive.open(str(folder)).records()) == before


@pytest.mark.parametrize("change", [{"last": 2**62}, {"first": 2**62}, {"first": 0}, {"last": 0}, None])
def test_a_damaged_line_of_the_manifest_is_told_and_all_the_rest_too(
    folder: Path, change: dict[str, int] | None
) -> None:
    archive = Archive.open(str(folder))
    entries = list(archive.segments(0))
    entries[1:2] = [msgspec.structs.replace(entries[1], **change)] if change is not None else []
    path = folder / "ledger/partition=00000/manifest.jsonl"
    path.write_bytes(write_manifest(archive.header(0), entries))
    (folder / "ledger/partition=00001" / archive.segments(1)[2].file).unlink()
    found = as_json(folder)["findings"]
    assert (found[0]["kind"], found[0]["partition"]) == ("chain", 0)
    assert (found[-1]["kind"], found[-1]["partition"]) == ("missing", 1)


def test_a_rewritten_segment_is_told_from_a_changed_one(folder: Path) -> None:
    import pyarrow.parquet as pq

    entry = Archive.open(str(folder)).segments(0)[1]
    path = folder / "ledger/partition=00000" / entry.file
    pq.write_table(pq.ParquetFile(path).read(), path, compression="gzip", store_schema=False)
    (finding,) = as_json(folder)["findings"]
    assert (finding["kind"], finding["first"], finding["last"]) == ("rewritten", entry.first, entry.last)


def test_a_partition_that_the_ledger_has_not_is_found(folder: Path) -> None:
    """It holds nothing, so that there is nothing else by which it would be found; no day would have ended in it."""
    header = Archive.open(str(folder)).header(0)
    (folder / "ledger/partition=00002").mkdir()
    manifest = write_manifest(msgspec.structs.replace(header, partition=2), [])
    (folder / "ledger/partition=00002/manifest.jsonl").write_bytes(manifest)
    (finding,) = as_json(folder)["findings"]
    assert (finding["kind"], finding["partition"]) == ("extra", 2)


def test_figures_of_a_partition_that_is_not_archived_are_not_compared(tmp_path: Path, folder: Path) -> None:
    archive = Archive.open(str(folder))
    published = figures(archive, archive.next_offsets() | {2: 7})
    published[0]["population"]["total"] += 1
    told = as_json(folder, "--coverage", write_lines(tmp_path / "more.jsonl", published))["agreement"]
    assert told["status"] == "skipped" and "partition 2 up to offset 7, the archive ends at 0" in told["reason"]


@pytest.mark.parametrize("name", ["an-id", r"C:\records\7"])
def test_an_id_of_several_persons_is_listed_and_no_fault(name: str, tmp_path: Path) -> None:
    logs = in_epoch(ledger(200, 1, 1))
    taken = next(record for record in logs[0] if record.key is not None and len(record.key) == 32)
    decoded = decode_record(taken.value or b"")
    assert isinstance(decoded, LedgerRecord)
    event = msgspec.structs.replace(decoded.event, id=name)
    last = logs[0][-1].offset
    for number, subject in enumerate(("e" * 32, "f" * 32), last + 1):
        value = encode_record(subject, event, decoded.received_at)
        logs[0].append(LogRecord(number, 1, subject.encode(), value))
    copy = encode_record("0" * 32, event, decoded.received_at, "f" * 32)
    logs[0] += [
        LogRecord(last + 3, 1, b"0" * 32, copy),
        LogRecord(last + SEGMENT, 1, None, None),
    ]
    write(tmp_path / "archive", logs, SEGMENT)
    report = as_json(tmp_path / "archive")
    assert report["ok"]
    (found,) = report["id_reused"]
    assert (found["id"], found["persons"]) == (name, 2)


def test_wrong_usage_is_2(tmp_path: Path, folder: Path) -> None:
    assert verified(tmp_path / "nothing").exit_code == 2
    figures_of_count = write_lines(tmp_path / "count.jsonl", [{"region": "ID", "epoch": 1}])
    refused = verified(folder, "--coverage", figures_of_count)
    assert refused.exit_code == 2 and "give records of lampit.coverage" in refused.output
    (ours := figures(Archive.open(str(folder)), {0: 1, 1: 1})[0])["as_of"] = "tomorrow"
    refused = verified(folder, "--coverage", write_lines(tmp_path / "no_day.jsonl", [ours]))
    assert refused.exit_code == 2 and "give records of lampit.coverage" in refused.output
    (tmp_path / "heads.jsonl").write_bytes(b'{"ledger_id":"\xd5"}\n')
    refused = verified(folder, "--heads", tmp_path / "heads.jsonl")
    assert refused.exit_code == 2 and "give records of lampit.heads" in refused.output
    make_key(tmp_path / "a.key", tmp_path / "a.key.pub")
    again = CliRunner().invoke(lampit, ["audit", "keygen", str(tmp_path / "a.key")])
    assert again.exit_code == 2 and "exists" in again.output


def test_no_private_key_is_left_where_its_public_key_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.key.pub").write_text("of another key")
    refused = CliRunner().invoke(lampit, ["audit", "keygen", str(tmp_path / "a.key")])
    assert (refused.exit_code, refused.output) == (
        2,
        f"{tmp_path / 'a.key.pub'} exists: name another file, or remove it first.\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.key.pub"]


@pytest.mark.parametrize("command", [("verify", "--archive"), ("coverage", "--as-of", "2019-03-22")])
def test_a_store_that_does_not_answer_is_no_finding(command: tuple[str, ...]) -> None:
    """Exit code 1 would say that the archive is not in order. What is secret in the URL is not told."""
    url = f"s3://name:secret@bucket/prefix?endpoint_override=127.0.0.1:{free_port()}&scheme=http"
    refused = CliRunner().invoke(lampit, ["audit", *command, url])
    assert refused.exit_code == 2
    called = "--archive s3://bucket/prefix" if command[0] == "verify" else "s3://bucket/prefix"
    assert refused.output == (
        f"{called} cannot be read (NETWORK_CONNECTION, ledger): check its address, that it answers, and the rights to it.\n"
    )


def test_a_file_that_cannot_be_read_is_no_finding(folder: Path) -> None:
    """A folder in its place: whoever may read everything has no file that cannot be read for lack of rights."""
    manifest = folder / "ledger/partition=00001/manifest.jsonl"
    manifest.unlink()
    manifest.mkdir()
    refused = verified(folder)
    assert refused.exit_code == 2
    assert (
        f"--archive {folder} cannot be read (Is a directory, ledger/partition=00001/manifest.jsonl): check"
        in refused.output
    )


@pytest.mark.parametrize("url", ["s3://", "nothing://bucket"])
def test_a_url_that_is_none_is_wrong_usage(url: str) -> None:
    refused = CliRunner().invoke(lampit, ["audit", "verify", "--archive", url])
    assert refused.exit_code == 2
    assert f"--archive {url} cannot be used: give a directory, or s3://BUCKET/PREFIX" in refused.output


def test_the_option_that_names_no_archive_is_told(folder: Path, tmp_path: Path) -> None:
    for option, arguments in (("--archive", ()), ("--previous", ("--archive", folder))):
        words = map(str, ("audit", "verify", *arguments, option, tmp_path / "nothing"))
        refused = CliRunner().invoke(lampit, list(words))
        assert refused.exit_code == 2
        assert f"{option} {tmp_path / 'nothing'} holds no archive of lampit.ledger: give" in refused.output


def test_a_public_key_that_is_none_is_asked_for_and_not_made(folder: Path, tmp_path: Path) -> None:
    """A key that an auditor makes has signed nothing."""
    other = Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content, said in (
        ("no.key", b"no key", "holds no Ed25519 public key in PEM"),
        ("other.key", other, "holds no Ed25519 public key in PEM"),
        ("nowhere.pub", None, "cannot be read (No such file or directory)"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        refused = verified(folder, "--public-key", tmp_path / name)
        assert refused.exit_code == 2
        assert refused.output == (
            f"--public-key {tmp_path / name} {said}: ask whoever runs the archive for the .pub file of its key.\n"
        )


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("audit", "verify", "--bootstrap", "kafka"), "--bootstrap"),
        (("audit", "heads", "--bootstrap", "kafka"), "--bootstrap"),
        (("rotate", "--to", "new", "--new-key", "key", "--bootstrap", "kafka"), "--bootstrap"),
        (("replay", "--to", "kafka"), "--to"),
    ],
    ids=["verify", "heads", "rotate", "replay"],
)
def test_the_option_that_names_no_broker_is_told(folder: Path, words: tuple[str, ...], option: str) -> None:
    archive = () if "heads" in words else ("--archive", str(folder))
    refused = CliRunner().invoke(lampit, [*words, *archive])
    assert refused.exit_code == 2
    assert refused.output.startswith(f"{option} cannot be used: each server should be host:port")


def test_verifying_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    assert verified(folder).exit_code == 0
    assert contents(folder) == before
