"""What `lampit doctor` looks at on this machine: stores, disk, archive, snapshots, processes.

In: settings, and what Kafka said of the ledger. Out: findings. Called by the command. Stores are opened for reading alone,
beside a worker that has them open; nothing is written to their folders.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

from agents.barrier import LedgerIdentity, rules_of
from agents.damage import is_damaged
from agents.desk import record_digest
from agents.errors import LampitError
from agents.reading import end_offset, record_at
from agents.settings import Settings
from agents.signing import load_signer
from agents.snapshots import Snapshots
from agents.store import FORMAT, Meta, read_meta
from agents.threads import in_daemon
from agents.topics import LEDGER
from lampit import reference
from lampit.doctor.cluster import Log
from lampit.doctor.findings import Finding, ok, problem, refused, warning
from stream.ledger import Genesis
from stream.snapshot import Snapshot

GIB: Final = 1 << 30
FREE_WARNING_BYTES: Final = 5 * GIB
FREE_PROBLEM_BYTES: Final = 1 * GIB
SEGMENTS_BEHIND_MAX: Final = 3
SNAPSHOTS_MISSED_MAX: Final = 3
SNAPSHOT_BEHIND_MAX: Final = 10
"""Offsets: days turn and transactions end where nothing else happens. A snapshot that lacks no more is as good as new."""
CLOCK_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 5.0
PLACE_SECONDS_MAX: Final = 60.0
"""Of all that is asked of an archive or of snapshots."""
_AS_THE_WORKER: Final = "ask again as the user that the ledger worker runs as"
_LOST: Final = "find out what became of the log: it was made anew, or cut off"
_REBUILT: Final = "nothing, if that was meant: the worker sets the store aside and rebuilds it from the log"
_OTHER_SETTINGS: Final = (
    "nothing, where an epoch was begun with these settings: the worker rebuilds the store; else it ends after that: set them "
    "as they were, or begin an epoch with `lampit epoch`"
)


def check(settings: Settings, log: Log | None, addresses: tuple[str, ...]) -> list[Finding]:
    """Everything on this machine, and the processes at the addresses."""
    found = [_disk(settings), *_stores(settings, log)]
    if settings.archive_url is not None:
        found += [_archive(settings, log), _archive_key(settings)]
    if settings.snapshot_url is not None:
        found.append(_snapshots(settings, settings.snapshot_url, log))
    return [*found, *(_process(address) for address in addresses)]


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    while not os.path.exists(folder):  # one that this user may not see is none, too
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    saw = f"{free / GIB:,.1f} GiB free for LAMPIT_DATA_DIR"
    if free < FREE_PROBLEM_BYTES:
        return problem("disk", saw, "make room, or give the disk more: a worker ends when its disk is full")
    if free < FREE_WARNING_BYTES:
        return warning("disk", saw, "make room, or give the disk more, before it is full")
    return ok("disk", saw)


def store_folders(data_dir: Path) -> dict[int, Path]:
    """The stores below a data directory, of a worker or of `lampit run all`, by partition."""
    found = [*data_dir.glob("ledger/partition-*"), *data_dir.glob("ledger/ledger/partition-*")]
    numbers = {path: path.name.removeprefix("partition-") for path in found if path.is_dir()}
    return {int(number): path for path, number in numbers.items() if number.isdecimal()}


def _stores(settings: Settings, log: Log | None) -> list[Finding]:
    closed = [folder for folder in (settings.data_dir, settings.data_dir / "ledger") if _is_closed(folder)]
    if closed:
        return [warning("stores", f"this user may not look into {closed[0]}", _AS_THE_WORKER)]
    folders = store_folders(settings.data_dir)
    if not folders:
        return [ok("stores", "none below LAMPIT_DATA_DIR: right where no ledger worker has run yet")]
    return [_store(number, path, settings, log) for number, path in sorted(folders.items())]


def _is_closed(folder: Path) -> bool:
    """Whether something is there that this user may not see: looking for files in it finds none, without an error."""
    try:
        os.listdir(folder)
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(folder, os.X_OK)


def _store(partition: int, path: Path, settings: Settings, log: Log | None) -> Finding:
    """Whether a worker would go on with the store, or rebuild it."""
    check = f"store {partition}"
    if is_damaged(path):
        todo = "nothing: the worker sets it aside at its next start and builds it anew; look at the disk"
        return warning(check, "a file of it could not be read", todo)
    try:
        with tempfile.TemporaryDirectory(prefix="lampit-doctor-") as notes:
            meta = read_meta(path, Path(notes))
    except Exception as error:  # whatever RocksDB says, in a word
        return _unreadable(check, path, error)
    if meta is None:
        return ok(check, "new, without anything")
    if meta.format != FORMAT:
        return warning(check, f"it has format {meta.format}, this version's is {FORMAT}", _REBUILT)
    saw = f"epoch {meta.epoch}, next offset {meta.next_offset:,}"
    if log is None or log.genesis is None:
        return ok(check, f"{saw}; the log is not known, so it is held against nothing")
    try:
        misfit = _against_log(check, meta, log, log.genesis, settings)
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        misfit = _unanswered(check, saw, error)
    return misfit or ok(check, f"{saw} of {log.ends.get(partition, 0):,}")


def _unanswered(check: str, saw: str, error: Exception) -> Finding:
    """The brokers went away since they said where the log ends; what was found before is to be shown."""
    saw += f"; the brokers did not answer what the log has there ({type(error).__name__})"
    return problem(check, saw, "see that all brokers run, and ask again")


def _unreadable(check: str, path: Path, error: Exception) -> Finding:
    # rocksdict writes a file of its own even to read; the store is as good as ever.
    if isinstance(error, PermissionError):
        return warning(check, "this user may not read it", _AS_THE_WORKER)
    saw = f"it cannot be read ({type(error).__name__})"
    return problem(check, saw, f"stop the worker, delete {path}, start it again: the store is rebuilt from the log")


def _against_log(check: str, meta: Meta, log: Log, genesis: Genesis, settings: Settings) -> Finding | None:
    """Why a store cannot go on with the log."""
    if meta.ledger_id != genesis.ledger_id:
        return warning(check, f"it is of another ledger ({meta.ledger_id})", _REBUILT)
    if meta.settings_digest != _settings_digest(settings, genesis):
        return warning(check, "it was made with other rules, settings or region reference", _OTHER_SETTINGS)
    if meta.epoch_differs:
        saw = f"at offset {meta.next_offset:,} the ledger's epoch is one of other settings or another region reference"
        todo = "set them as they were, or begin an epoch with `lampit epoch`, unless that was done since"
        return problem(check, saw, todo)
    end = _ends(settings, log, {meta.partition: meta.next_offset}).get(meta.partition, 0)
    if meta.next_offset > end:
        return problem(check, f"next offset {meta.next_offset:,}, but the log ends at {end:,}", _LOST)
    if meta.last_offset >= 0:
        record = asyncio.run(record_at(settings, LEDGER, meta.partition, meta.last_offset))
        if record is None or record_digest(record.value) != meta.last_digest:
            return problem(check, f"the log has another record at offset {meta.last_offset:,}", _LOST)
    return None


def _settings_digest(settings: Settings, genesis: Genesis) -> str:
    """What a worker with these settings writes into its stores."""
    identity = LedgerIdentity(genesis.ledger_id, settings.partitions, rules_of(settings), reference.load().digest)
    return identity.settings_digest


def _ends(settings: Settings, log: Log, held: Mapping[int, int]) -> Mapping[int, int]:
    """Where the log ends, asked again of partitions of which more is held: it goes on while everything else is looked at."""
    ahead = [number for number, end in log.ends.items() if held.get(number, 0) > end]
    return {**log.ends, **{number: asyncio.run(end_offset(settings, LEDGER, number)) for number in ahead}}


Result = TypeVar("Result")


def _in_time(call: Callable[[], Result]) -> Result:
    """What a place answers; TimeoutError where it hangs, as a dead file server can for hours.

    By a thread that the command does not wait for when it ends either.
    """
    return in_daemon(call).result(PLACE_SECONDS_MAX)


def _hangs(check: str, setting: str) -> Finding:
    saw = f"{setting} does not answer within {PLACE_SECONDS_MAX:.0f} s"
    return problem(check, saw, "see that its server runs and is reached from here")


def _archive(settings: Settings, log: Log | None) -> Finding:
    """The archive's heads against the log."""
    from lampit.audit.archive import Archive, NoArchive

    check, segment = "archive", settings.archive_segment_records

    def look() -> tuple[dict[int, int], set[str]]:
        archive = Archive.open(settings.archive_url or "", called="LAMPIT_ARCHIVE_URL")
        return archive.next_offsets(), {archive.header(number).ledger_id for number in archive.partitions()}

    try:
        held, of = _in_time(look)
    except LampitError as error:
        if isinstance(error, NoArchive) and log is not None and max(log.ends.values(), default=0) <= segment:
            todo = "see that `lampit run archive` runs: it begins one once a segment is complete, or the day turns"
            return warning(check, "there is none yet at LAMPIT_ARCHIVE_URL", todo)
        return refused(check, str(error))
    except TimeoutError:
        return _hangs(check, "LAMPIT_ARCHIVE_URL")
    except Exception as error:  # an object store's own
        return problem(
            check, f"LAMPIT_ARCHIVE_URL cannot be read ({type(error).__name__})", "check its address and rights"
        )
    return _archive_against_log(held, of, settings, log)


def _archive_against_log(held: Mapping[int, int], of: set[str], settings: Settings, log: Log | None) -> Finding:
    """Whether the archive is of this ledger, and how far behind it. held: its next offsets; of: the ledgers it names."""
    check, saw = "archive", f"{sum(held.values()):,} offsets in {len(held)} partitions"
    if log is None or log.genesis is None:
        return ok(check, f"{saw}; the log is not known, so it is held against nothing")
    if of != {log.genesis.ledger_id}:
        return problem(
            check, "it is of another ledger", "name another LAMPIT_ARCHIVE_URL: one archive holds one ledger"
        )
    try:
        ends = _ends(settings, log, held)
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        return _unanswered(check, saw, error)
    return _heads(check, saw, held, ends, settings.archive_segment_records)


def _archive_key(settings: Settings) -> Finding:
    """Whether an archive worker could sign. Where only others run, the key has no business to be."""
    check = "archive key"
    if settings.archive_key_file is None:
        return ok(check, "LAMPIT_ARCHIVE_KEY_FILE is not set: right where no archive worker runs, which needs it")
    try:
        load_signer(settings.archive_key_file)
    except LampitError as error:
        return refused(check, str(error))
    return ok(check, "it can be read")


def _snapshots(settings: Settings, url: str, log: Log | None) -> Finding:
    """Whether every partition has a snapshot that a start would take and that is not old, of those that have anything new."""
    check = "snapshots"
    if log is None or log.genesis is None:
        return ok(check, "the log is not known, so they are held against nothing")
    ledger_id, partitions = log.genesis.ledger_id, list(log.ends)
    digest = _settings_digest(settings, log.genesis)

    def look() -> dict[int, Snapshot | None]:
        snapshots = Snapshots(url, ledger_id)
        found = {partition: snapshots.newest(partition, FORMAT, digest) for partition in partitions}
        if None in found.values():
            snapshots.files.require_writable("LAMPIT_SNAPSHOT_URL")  # else that is why
        return found

    try:
        newest = _in_time(look)
    except LampitError as error:
        return refused(check, str(error))
    except TimeoutError:
        return _hangs(check, "LAMPIT_SNAPSHOT_URL")
    except (OSError, ValueError) as error:
        saw = f"LAMPIT_SNAPSHOT_URL cannot be read ({type(error).__name__})"
        return problem(check, saw, "check its address and rights")
    limit = SNAPSHOTS_MISSED_MAX * settings.snapshot_seconds
    without = [number for number, one in newest.items() if one is None]
    ages = {
        number: time.time() - one.made_at
        for number, one in newest.items()
        if one is not None and log.ends[number] - one.next_offset > SNAPSHOT_BEHIND_MAX
    }
    oldest = max(ages.values(), default=0.0)
    saw = f"{len(newest) - len(without)} of {len(newest)} partitions have one that can be used"
    if len(without) < len(newest):
        saw += f", the oldest is {oldest / 3600:,.1f} hours old"
    if without or oldest > limit:
        todo = "see that ledger workers run and have caught up; one that cannot write a snapshot logs why"
        return warning(check, saw, todo)
    return ok(check, saw)


def _heads(check: str, saw: str, held: Mapping[int, int], ends: Mapping[int, int], segment: int) -> Finding:
    """How far the archive is, by partition, and how far the log."""
    ahead = [number for number, end in held.items() if end > ends.get(number, 0)]
    if ahead:
        saw = f"partition {ahead[0]}: archived up to {held[ahead[0]]:,}, the log ends at {ends.get(ahead[0], 0):,}"
        return problem(check, saw, f"{_LOST}; `lampit replay` fills a new cluster from the archive")
    behind = {number: end - held.get(number, 0) for number, end in ends.items()}
    saw += f", {sum(behind.values()):,} behind the log"
    if max(behind.values(), default=0) > SEGMENTS_BEHIND_MAX * segment:
        return warning(check, saw, "see that `lampit run archive` runs, and what it logs")
    return ok(check, saw)


def _process(address: str) -> Finding:
    """Whether a process says that it is ready, and its clock is ours."""
    check = f"process {address}"
    try:
        status, date, body = _get(f"{address.rstrip('/')}/health/ready")
        said: dict[str, Any] = json.loads(body)
        conditions: dict[str, dict[str, Any]] = said["conditions"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return problem(
            check,
            f"no answer ({type(error).__name__})",
            "see that it runs and listens there (LAMPIT_WEB_HOST, LAMPIT_WEB_PORT)",
        )
    if date is not None and abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) > CLOCK_SECONDS_MAX:
        return problem(
            check, f"its clock says {date}, this machine's another time", "set the clocks of both machines by NTP"
        )
    if status != 200:
        why = ", ".join(
            f"{name}: {one['why']}" if one.get("why") else name for name, one in conditions.items() if not one["ok"]
        )
        return warning(check, f"not ready ({why})", "wait while it catches up; if that lasts, read its log")
    return ok(check, "ready")


def _get(url: str) -> tuple[int, str | None, bytes]:
    """Status, Date and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.status, answer.headers.get("Date"), answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Date"), answer.read()
