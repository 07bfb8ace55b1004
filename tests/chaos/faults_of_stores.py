"""What happens to the stores of ledger workers: deleted, older, corrupted, no room to write."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import Final

from agents.topics import LEDGER, PARTIALS
from stream.partials import HeadRecord, decode
from tests.chaos.faults_of_workers import moments
from tests.chaos.field import Field

LEDGERS: Final = ("ledger-a", "ledger-b")
FILE_BYTES_MAX: Final = 20_000
BYTES: Final = 256
BATCH_SECONDS: Final = 0.2
REBUILT: Final = "is set aside and rebuilt from the log"


def delete(live: Field, chance: Random) -> None:
    """Both workers lose theirs, one after another; one that rebuilds says that it is not ready until its figures are out."""
    live.at(chance.uniform(0.1, 0.5))
    for name in LEDGERS:
        live.take_down(name)
    shutil.rmtree(live.store("ledger-a"))
    shutil.rmtree(live.store("ledger-b"))
    ends = live._last_offsets(LEDGER, live.partitions)
    live.run("ledger-a", {"CHAOS_BATCH_SECONDS": str(BATCH_SECONDS), "LAMPIT_MAX_POLL_RECORDS": "100"})
    refused = [0]

    def is_ready_again() -> bool:
        """Looked at all the time: slowed down it is behind for seconds, and must not say otherwise."""
        said = live.answered("ledger-a", "/health/ready")
        if said is None or not said["ready"]:
            refused[0] += said is not None and "behind" in said["conditions"]["caught_up"]["why"]
            return False
        heads = _heads(live)
        behind = {number: end for number, end in ends.items() if heads.get(number, 0) < end}
        assert not behind, f"ready, but the heads are at {heads} and the log was at {ends}"
        return True

    live.wait_until(is_ready_again, "ready again")
    assert _owned(live, "ledger-a") == live.partitions
    assert refused[0] > 0, "it was never seen behind: nothing is proven"
    live.run("ledger-b")


def put_back(live: Field, chance: Random) -> None:
    """A copy of an hour ago, as from a backup of the machine: the log fills in what it lacks."""
    name = chance.choice(LEDGERS)
    early, late = moments(chance, 2, 0.05, 0.8)
    live.at(early)
    live.take_down(name)
    older = live.folder / "older"
    shutil.copytree(live.store(name), older)
    live.run(name)
    live.at(late)
    live.take_down(name)
    shutil.rmtree(live.store(name))
    shutil.copytree(older, live.store(name))
    live.run(name)


def corrupt(live: Field, chance: Random) -> None:
    """Bytes of the largest files, and of any other, overwritten; three times, so that restarts see damaged stores too."""
    for moment in moments(chance, 3):
        live.at(moment)
        name = chance.choice(LEDGERS)
        live.take_down(name)
        for store in sorted(live.store(name).glob("partition-?")):
            files = sorted(
                (file for file in store.iterdir() if file.suffix in (".sst", ".log") or file.name.startswith("MANI")),
                key=lambda file: (file.stat().st_size, file.name),
            )
            for file in {files[-1], chance.choice(files)}:
                _overwrite(file.__fspath__(), chance)
        live.run(name)

    wait_until_set_aside(live)


def wait_until_set_aside(live: Field) -> None:
    """At least one store: of others, a partition may have gone to the worker that has none of it."""

    def is_said() -> bool:
        return any(REBUILT in process.log.read_text(errors="replace") for process in live.processes)

    live.wait_until(is_said, "a store to be set aside")


def _overwrite(path: str, chance: Random) -> None:
    size = os.path.getsize(path)
    if size:
        with open(path, "r+b") as stream:
            stream.seek(chance.randrange(size))
            stream.write(chance.randbytes(min(BYTES, size)))


def fill_disk(live: Field, chance: Random) -> None:
    """Both workers end again and again, saying why; with room again they go on."""
    live.at(chance.uniform(0.05, 0.4))
    for name in LEDGERS:
        live.always[name] = {"CHAOS_FILE_BYTES_MAX": str(FILE_BYTES_MAX)}
        live.kill(name)

    def is_said() -> bool:
        return all(any(one == name and "StoreFailed" in why for one, _, why in live.ended) for name in LEDGERS)

    live.wait_until(is_said, "the workers to say that their stores cannot be written")
    live.always.clear()
    for name in LEDGERS:
        live.kill(name)


def _owned(live: Field, name: str) -> int:
    """Partitions whose newest head is that worker's."""
    here = f"127.0.0.1:{live.current[name].port}"
    return sum(here in (head.worker or "") for head in _newest_heads(live).values())


def _heads(live: Field) -> dict[int, int]:
    return {partition: head.offset for partition, head in _newest_heads(live).items()}


def _newest_heads(live: Field) -> dict[int, HeadRecord]:
    found = {}
    for record in live.read(PARTIALS):
        if record.value is not None and record.key.startswith(b"head|"):
            head = decode(record.key, record.value)
            assert isinstance(head, HeadRecord)
            found[head.partition] = head
    return found
