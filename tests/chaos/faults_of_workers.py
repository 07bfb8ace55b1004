"""What happens to workers: killed, frozen, added, removed, misconfigured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final

from agents.barrier import wib_day
from agents.topics import INTAKE_TOPICS, LEDGER
from stream.ledger import ControlRecord, Day, decode_record
from tests.chaos.cluster import NODES
from tests.chaos.field import REFUSED, SESSION_SECONDS, Field
from tests.live import Process

KILLS: Final = 5
CRASHES: Final = 2
"""Starts of one worker that end at each of its crash points; then it is let live."""

CLOSING: Final = "rollup-before-closed"
RARE: Final = (CLOSING, "ledger-after-copies")


def moments(chance: Random, count: int, first: float = 0.05, last: float = 0.9) -> list[float]:
    """Seeded shares of the flow, in order."""
    return sorted(chance.uniform(first, last) for _ in range(count))


def kill_any(live: Field, chance: Random) -> None:
    """SIGKILL; the orchestrator starts it again."""
    for moment in moments(chance, KILLS):
        live.at(moment)
        live.pause(chance.random() * 0.3)
        live.kill(chance.choice(sorted(live.current)))


def crash(live: Field, chance: Random, points: Sequence[str]) -> None:
    """Workers that die at a point, counted from their start, each at a count of its own; every point has to be hit.

    To a rare point they may come once only: there they die the first time. For closings a day turns.
    """
    for name in sorted(live.current):
        role = name.partition("-")[0]
        mine = [point for point in points if point.startswith(f"{role}-")]
        if name.endswith("b"):
            mine.reverse()  # where there are two, each worker begins with another one
        for point in mine * CRASHES:
            count = 1 if point in RARE else chance.randrange(1, 5)
            live.armed.setdefault(name, []).append({"CHAOS_CRASH": f"{point}:{count}"})
    for name in list(live.armed):
        live.kill(name)
    live.at(0.9)
    if CLOSING in points:
        live.turn_between()
    work_until(live, lambda: all(live.crashed[point] for point in points), f"workers to come to {points}")


def work_until(live: Field, condition: Callable[[], bool], what: str) -> None:
    """Wait for what only a worker at work can come to: more is sent where all is sent."""

    def is_so() -> bool:
        if all(flow.share >= 1.0 for flow in live.flows) and not condition():
            live.send_more()
        return condition()

    live.wait_until(is_so, what)


def crash_and_freeze_and_kill(live: Field, chance: Random) -> None:
    """The short version of the suite: one worker dies in a transaction, a broker is killed, the other worker is a zombie."""
    live.at(chance.uniform(0.05, 0.2))
    live.armed["ledger-a"] = [{"CHAOS_CRASH": "ledger-in-transaction:2"}]
    live.kill("ledger-a")
    work_until(live, lambda: live.crashed["ledger-in-transaction"] > 0, "a worker to die with a transaction open")
    node = chance.choice(NODES)
    live.cluster.kill(node)
    make_zombie(live, "ledger-b")
    live.cluster.start_nodes(node)
    live.at(1.0)


def freeze(role: str) -> Callable[[Field, Random], None]:
    """SIGSTOP beyond the session, then SIGCONT: the zombie."""

    def strike(live: Field, chance: Random) -> None:
        live.at(chance.uniform(0.05, 0.3))
        make_zombie(live, live.active_rollup() if role == "rollup" else f"{role}-{chance.choice('ab')}")
        live.at(1.0)

    return strike


def make_zombie(live: Field, name: str) -> None:
    """Frozen for longer than its session, and until the other one of its role has all its partitions."""
    role, zombie = name.partition("-")[0], live.current[name]
    other = f"{role}-{'b' if name.endswith('a') else 'a'}"
    zombie.pause()
    live.pause(SESSION_SECONDS)
    partitions = {"intake": len(INTAKE_TOPICS) * live.partitions, "ledger": live.partitions, "rollup": 1}[role]

    def is_taken_over() -> bool:
        return live.partitions_of(other) == partitions and live.is_ready(other)

    live.wait_until(is_taken_over, f"{other} to take over from {name}")
    assert zombie.popen.poll() is None, "a frozen process ended"
    zombie.resume()


def come_and_go(live: Field, chance: Random) -> None:
    """SIGTERM and new names, so that partitions move to and fro."""
    changes: list[tuple[str, str]] = [
        ("run", "ledger-c"),
        ("remove", "ledger-a"),
        ("run", "intake-c"),
        ("remove", "intake-b"),
        ("run", "ledger-a"),
        ("remove", "ledger-c"),
        ("remove", "rollup-a"),
        ("remove", "ledger-b"),
        ("run", "rollup-a"),
        ("run", "ledger-b"),
    ]
    for moment, (change, name) in zip(moments(chance, len(changes)), changes, strict=True):
        live.at(moment)
        if change == "run":
            live.run(name)
        else:
            live.remove(name)


def take_over_rollup(live: Field, chance: Random) -> None:
    """The other one goes on, and the killed one comes back as the one that stands by."""
    for moment in moments(chance, 2):
        live.at(moment)
        name = live.active_rollup()
        live.take_down(name)
        live.pause(SESSION_SECONDS)
        assert live.active_rollup() != name
        live.run(name)


def send_twice(live: Field, chance: Random) -> None:
    """The same events by another producer, in another order."""
    again = list(live.flows[0].sent)
    chance.shuffle(again)
    live.send(again, seconds=live.flow_seconds)
    live.at(0.9)


def wrong_key(live: Field, chance: Random) -> None:
    """Both end with one sentence, before they touch anything."""
    live.at(chance.uniform(0.1, 0.5))
    for name in ("intake-x", "ledger-x"):
        live.refusing.add(name)
        live.down.add(name)
        process = live.run(name, {"LAMPIT_PSEUDONYM_KEY": "quite another key of 32 bytes or more"})
        live.down.add(name)
        _is_refused(live, process, "The pseudonym key is not the one this ledger was begun with")


def other_epoch(live: Field, chance: Random) -> None:
    """Each start takes partitions over and ends, with an empty store and with the one it left behind."""
    for moment in moments(chance, 3, 0.05, 0.6):
        live.at(moment)
        process = live.run("ledger-x", {"LAMPIT_LEAP_BIRTHDAY": "feb28"})
        live.down.add("ledger-x")
        _is_refused(live, process, "not those of the ledger's epoch")


def clock_ahead(live: Field, chance: Random) -> None:
    """The broker refuses what such a worker writes; a day record that is ahead, however it came there, is passed over."""
    live.at(chance.uniform(0.1, 0.4))
    process = live.run("ledger-x", {"CHAOS_CLOCK_DAYS": "1", "LAMPIT_DAY_SOURCE": "clock"})
    live.down.add("ledger-x")
    live.wait_until(lambda: process.popen.poll() is not None, "a worker with a clock ahead to end")
    assert process.popen.returncode == 1, process.log.read_text()[-2000:]
    assert "InvalidTimestamp" in process.log.read_text(), process.log.read_text()[-2000:]
    tomorrow_but_one = datetime.now(UTC).date() + timedelta(days=3)
    live.turn_day(tomorrow_but_one)
    live.at(1.0)
    days = [decoded.control for decoded in map(_decoded, live.read(LEDGER, live.partitions)) if _is_day(decoded)]
    today = wib_day(datetime.now(UTC).timestamp())
    ahead = {date.fromordinal(day.day) for day in days if isinstance(day, Day) and day.day > today}
    assert ahead == {tomorrow_but_one}, ahead


def _decoded(record: object) -> object:
    return decode_record(record.value)  # type: ignore[attr-defined]


def _is_day(decoded: object) -> bool:
    return isinstance(decoded, ControlRecord) and isinstance(decoded.control, Day)


def _is_refused(live: Field, process: Process, sentence: str) -> None:
    live.wait_until(lambda: process.popen.poll() is not None, f"a worker to refuse: {sentence}")
    assert process.popen.returncode == REFUSED, process.log.read_text()[-2000:]
    assert sentence in process.log.read_text()
