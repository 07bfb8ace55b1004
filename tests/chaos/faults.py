"""The faults: a table of names and what each does to a field while events flow.

In: a field that runs (two workers of each agent, a third of the roll-up's standing by), a seeded source of chance. Out: the
field with every fault over; what is to be right then is in tests/chaos/check.py. A fault may wait for what it is about: that
a zombie is refused, that a worker with a wrong key ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.chaos import faults_of_brokers as brokers
from tests.chaos import faults_of_ledgers as ledgers
from tests.chaos import faults_of_stores as stores
from tests.chaos import faults_of_workers as workers
from tests.chaos.field import Field

Strike = Callable[[Field, Random], None]


@dataclass(frozen=True)
class Fault:
    """What is done, and what is special about the field it is done to."""

    name: str
    what: str
    strike: Strike
    settings: Mapping[str, str] = field(default_factory=dict)
    flow_seconds: float = 8.0


def _crash(*points: str) -> Strike:
    return lambda live, chance: workers.crash(live, chance, points)


def _nothing(live: Field, chance: Random) -> None:
    live.at(1.0)


_ALL: Final = (
    Fault("none", "nothing: the measure of the others", _nothing),
    Fault("short", "a worker killed in a transaction, a broker killed, a zombie", workers.crash_and_freeze_and_kill),
    Fault("kill", "any worker killed, five times", workers.kill_any),
    Fault(
        "crash-before-write",
        "killed with a batch in memory only",
        _crash("ledger-before-store", "intake-half-sent", "rollup-before-transaction"),
    ),
    Fault(
        "crash-in-transaction",
        "killed with a transaction open",
        _crash("ledger-in-transaction", "intake-before-commit", "rollup-in-transaction"),
    ),
    Fault(
        "crash-after-write",
        "killed between store and publication, send and commit",
        _crash("ledger-after-store", "intake-after-commit", "rollup-after-commit"),
    ),
    Fault(
        "crash-after-commit",
        "killed after the commit, before the store knows of it",
        _crash("ledger-after-commit", "ledger-after-copies", "rollup-before-closed"),
    ),
    Fault("crash-after-noted", "killed when all is written", _crash("ledger-after-noted", "rollup-before-closed")),
    *(
        Fault(f"freeze-{role}", f"{what} frozen until another took over", workers.freeze(role), flow_seconds=20.0)
        for role, what in (
            ("ledger", "a ledger worker"),
            ("intake", "an intake worker"),
            ("rollup", "the active roll-up"),
        )
    ),
    Fault("workers-come-and-go", "workers of each agent added and removed", workers.come_and_go),
    Fault("rollup-taken-over", "the active roll-up killed, twice", workers.take_over_rollup),
    Fault("two-producers", "two producers send the same events", workers.send_twice),
    Fault("wrong-key", "an intake and a ledger worker with another key", workers.wrong_key),
    Fault("other-epoch", "a ledger worker with other rules, started again and again", workers.other_epoch),
    Fault("clock-ahead", "a ledger worker whose clock is a day ahead", workers.clock_ahead),
    Fault("broker-killed", "a broker killed and started again", brokers.kill),
    Fault("broker-stopped", "each broker stopped and started again, one by one", brokers.stop_each),
    Fault("broker-lost", "a broker lost with its disk, replaced, another killed", brokers.lose),
    Fault("broker-slow", "a broker frozen for moments, then for longer than its session", brokers.slow_down),
    Fault("all-brokers-killed", "all brokers killed at once and started again", brokers.kill_all),
    Fault("coordinator-moved", "the brokers that coordinate the groups stopped", brokers.move_coordinators),
    Fault("partials-compacted", "partials compacted while roll-ups are killed", brokers.compact),
    Fault("store-deleted", "a worker loses its stores", stores.delete),
    Fault("store-older", "a worker's stores replaced by an older copy", stores.put_back),
    Fault("store-corrupted", "bytes of a worker's stores overwritten", stores.corrupt),
    Fault("disk-full", "no file of the ledger workers can grow", stores.fill_disk),
    Fault("ledger-refilled", "the ledger topic made anew with the same records", ledgers.refill),
    Fault(
        "ledger-shorter", "the ledger topic made anew without the last records, which are sent again", ledgers.shorten
    ),
    Fault("ledger-longer", "the ledger topic made anew with every event twice", ledgers.lengthen),
    Fault(
        "ledger-replaced", "the ledger topic replaced by a longer one while its workers stand still", ledgers.replace
    ),
    Fault("figures-deleted", "the topics of figures deleted and made anew beside all workers", ledgers.delete_figures),
    Fault("ledger-deleted", "the ledger topic deleted: refused, then all made anew", ledgers.delete),
)

FAULTS: Final[dict[str, Fault]] = {fault.name: fault for fault in _ALL}
