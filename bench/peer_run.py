"""A peer as a process: what starts it, and the reader that sees when its totals hold every event.

In: servers, topics that are filled, the sums that are wanted. Out: what one run took and the totals read, or in one sentence
why there are none. Called by bench/beside_peers.py. The engines themselves are in bench/peers/.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiokafka.structs import TopicPartition

from bench.kafka_job import WAIT_SECONDS_MAX, consumer
from bench.machine import cpu_seconds, peak_memory_mib
from bench.results import ROOT, Figures, round_all, say
from bench.village_sums import Totals
from bench.whole_job import PARTITIONS
from lampit.children import end_with_parent

EVENTS: Final = "peers-events"
FEW_EVENTS: Final = "peers-few-events"
MADE: Final = ROOT / ".cache" / "peers"
STALLED_SECONDS: Final = 100.0
"""Without a new total: longer than a group waits for a killed member (45 to 60 s)."""
SETTLED_SECONDS: Final = 2.0
SETTLED_AFTER_KILL_SECONDS: Final = 15.0
"""Without a new total once all events are in the totals: what is counted twice comes later."""
LOOK_SECONDS: Final = 0.005
"""Between two looks for the first record between the stages."""


class PeerError(Exception):
    """A peer cannot run, or did not get to the end; the message is one sentence without a path or a host."""


@dataclass(frozen=True)
class Peer:
    """An engine with the job of the peers.

    command: what starts it; SERVERS EVENTS NAME FOLDER GUARANTEE are added. made_by: the argument of scripts/peers, where it
    needs that. slow: it gets fewer events. own_topics: the ends of the names of topics that it does not make itself.
    """

    title: str
    command: tuple[str, ...]
    guarantee: str = "at-least-once"
    made_by: str | None = None
    slow: bool = False
    own_topics: tuple[str, ...] = ()


_CLASSES: Final = f"{MADE / 'kafka_streams' / 'classes'}{os.pathsep}{MADE / 'kafka_streams' / 'libs'}/*"
_STREAMS: Final = ("java", "-Xmx1G", "-cp", _CLASSES, "VillageSums")
_QUIX: Final = (str(MADE / "quixstreams" / "bin" / "python"), "-m", "bench.peers.quix_job")

PEERS: Final[Mapping[str, Peer]] = {
    "bare_loop": Peer("bare loop", (sys.executable, "-m", "bench.peers.bare_loop"), "offsets in the store"),
    "kafka_streams": Peer("Kafka Streams", _STREAMS, made_by="kafka_streams"),
    "kafka_streams_exactly_once": Peer("Kafka Streams", _STREAMS, "exactly-once", "kafka_streams"),
    "quixstreams": Peer("quixstreams", _QUIX, made_by="quixstreams"),
    "quixstreams_exactly_once": Peer("quixstreams", _QUIX, "exactly-once", "quixstreams"),
    "naive_faust": Peer(
        "Faust, two agents, Tables in memory",
        (sys.executable, "-m", "bench.peers.naive_faust"),
        slow=True,
        own_topics=("seen-changelog", "sums-changelog"),
    ),
}


@dataclass
class Run:
    """One start of a peer, or two: what it is given, its process, what is wanted of it."""

    peer: Peer
    servers: str
    name: str
    folder: Path
    wanted: Mapping[str, int]
    count: int
    starts: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, again on the same store."""
        self.starts += 1
        store = self.folder / "store"
        store.mkdir(exist_ok=True)
        source = FEW_EVENTS if self.peer.slow else EVENTS
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.peer.command, self.servers, source, self.name, str(store), self.peer.guarantee],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.folder)},
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509
            )

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.folder / "log"

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def check(self) -> None:
        """PeerError when it has ended."""
        if self.process is not None and self.process.poll() is not None:
            say(self.log.read_text(errors="replace")[-1500:])
            raise PeerError(f"It ended by itself with exit code {self.process.returncode}.")


async def watch(run: Run, broker_pid: int, killed: bool) -> tuple[Figures, Totals]:
    """Read its totals until all events are in them, and nothing more comes."""
    wanted = sum(run.wanted.values())
    totals = Totals()
    figures: Figures = {}
    async with consumer(run.servers) as reader:
        began = await _until_begun(run)
        spent, broker_spent = cpu_seconds(run.pid), cpu_seconds(broker_pid)
        reader.assign([TopicPartition(f"{run.name}-totals", number) for number in range(PARTITIONS)])
        changed = began
        while True:
            read = await reader.getmany(timeout_ms=200)
            for records in read.values():
                for record in records:
                    totals.read(record.value)
            now = time.monotonic()
            changed = now if read else changed
            if killed and run.starts == 1 and totals.events >= wanted // 2:
                run.kill()
                run.start()
            if not figures and totals.events >= wanted and not killed:
                figures = {
                    "events_per_second": run.count / (now - began),
                    "seconds": now - began,
                    "cpu_seconds_per_million": (cpu_seconds(run.pid) - spent) / run.count * 1_000_000,
                    "broker_cpu_seconds_per_million": (cpu_seconds(broker_pid) - broker_spent) / run.count * 1_000_000,
                    "peak_memory_mib": peak_memory_mib(run.pid),
                }
            settled = SETTLED_AFTER_KILL_SECONDS if killed else SETTLED_SECONDS
            if totals.events >= wanted and now - changed > settled:
                return round_all(figures), totals
            if now - changed > STALLED_SECONDS:
                if killed:
                    return {}, totals
                raise PeerError(f"{totals.events} of {wanted} events were in its totals, then nothing came.")
            run.check()


async def _until_begun(run: Run) -> float:
    """The moment at which its first record between the stages is in Kafka, committed or not."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    between = [TopicPartition(f"{run.name}-by-village", number) for number in range(PARTITIONS)]
    async with consumer(run.servers, committed=False) as reader:
        while not any((await reader.end_offsets(between)).values()):
            if time.monotonic() > deadline:
                raise PeerError(f"It did nothing for {WAIT_SECONDS_MAX:.0f} s.")
            run.check()
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic()
