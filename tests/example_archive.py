"""The archive of docs/examples, written from docs/examples/ledger.jsonl: `python -m tests.example_archive`.

In: the ledger records. Out: docs/examples/archive, the public key, and heads.jsonl, the heads as `lampit.heads` has them.
Control records are put where a live ledger has them: genesis, epoch, and a day record where one of `DAYS` begins.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.topics import LEDGER
from lampit import reference
from lampit.audit.archive import Archive
from lampit.audit.proofs import heads
from stream.archive import encode_line
from stream.calendar import end_of_day
from stream.ledger import (
    Day,
    Epoch,
    EpochSettings,
    Genesis,
    LedgerRecord,
    control_key,
    decode_record,
    encode_control,
    record_key,
)
from stream.rules import RULES_VERSION
from tests.archives import LEDGER_ID, SIGNER, LogRecord, write

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "docs" / "examples"
DAYS: Final = (date(2019, 3, 1), date(2019, 3, 29), date(2019, 4, 29))
SEGMENT: Final = 10


def log(lines: list[bytes]) -> list[LogRecord]:
    """The ledger's one partition."""
    decoded = [decode_record(line) for line in lines]
    records = [
        (one.received_at, one, line) for one, line in zip(decoded, lines, strict=True) if isinstance(one, LedgerRecord)
    ]
    begin = records[0][0] - 1_000_000
    rows: list[tuple[int, bytes, bytes]] = []
    epoch = Epoch(1, RULES_VERSION, EpochSettings(), reference.load().digest)
    for first in (Genesis(LEDGER_ID, 1, 0, "fingerprint"), epoch):
        rows.append((begin, control_key(first), encode_control(first, begin)))
    for received_at, record, line in records:
        rows.append((received_at, record_key(record.subject, record.event), line))
    for day in DAYS:
        control = Day(day.toordinal())
        at = end_of_day(control.day - 1, None)
        rows.append((at, control_key(control), encode_control(control, at)))
    rows.sort(key=lambda row: row[0])
    return [LogRecord(offset, at // 1000, key, value) for offset, (at, key, value) in enumerate(rows)]


def write_example(folder: Path) -> None:
    """The archive into a folder."""
    lines = (EXAMPLES / "ledger.jsonl").read_bytes().splitlines()
    write(folder, {0: log(lines)}, SEGMENT, topic=LEDGER)


def head_lines(folder: Path) -> bytes:
    """What `lampit.heads` has of it."""
    found = heads(Archive.open(str(folder)))
    return b"".join(encode_line(head) + b"\n" for head in found if head.day)


def public_pem() -> bytes:
    """The public key that goes with it."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(SIGNER.public))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


if __name__ == "__main__":
    shutil.rmtree(EXAMPLES / "archive", ignore_errors=True)
    write_example(EXAMPLES / "archive")
    (EXAMPLES / "heads.jsonl").write_bytes(head_lines(EXAMPLES / "archive"))
    (EXAMPLES / "archive.key.pub").write_bytes(public_pem())
