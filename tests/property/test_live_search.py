"""A long search for histories that the live agents count differently from the core; `make fuzz` runs it.

One ledger after another on a Kafka broker, four partitions, intake, two ledger workers, the roll-up. Between two days more
random histories come in, shuffled, some of them twice; at the end of each day every region's figures, and at the end of
a ledger every person's anomalies, must be those of the core over everything sent so far. What the core says is held
against the SQL recount by test_search.py.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from itertools import count
from pathlib import Path

import pytest

from agents.topics import ANOMALIES
from lampit import reference
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.brokers import Broker, delete_topics
from tests.live import KEY, Live, compare
from tests.property.lives import DAYS, Json
from tests.property.test_search import TOGETHER, elsewhere, made
from tests.scenario_live import WITH_NIK_CHANGES, Watch

SECONDS = float(os.environ.get("LAMPIT_FUZZ_LIVE_SECONDS", "240"))
REPEATED_OF = 4


class LiveSearch:
    """Ledgers of random histories, and the numbers."""

    def __init__(self, broker: Broker, folder: Path, begin: int) -> None:
        """Nothing compared yet."""
        self._broker = broker
        self._folder = folder
        self._begin = begin
        self._chance = random.Random(begin)
        self._pseudonymise = Pseudonymiser(KEY.encode())
        self.ledgers = self.days = self.histories = self.events = 0

    def one_ledger(self, number: int) -> None:
        """Count some histories on a ledger of their own."""
        chance = self._chance
        rules = Rules(chance.choice([None, chance.randint(1, 130)]), chance.choice(("mar1", "feb28")))
        settings = {"LAMPIT_LEAP_BIRTHDAY": rules.leap_birthday}
        if rules.transit_expiry_days is not None:
            settings["LAMPIT_TRANSIT_EXPIRY_DAYS"] = str(rules.transit_expiry_days)
        days = sorted(chance.sample(DAYS, 5))
        drawn = iter(made(number, TOGETHER * len(days), with_nik_changes=WITH_NIK_CHANGES))
        engine = Engine(rules, reference.load())
        delete_topics(self._broker.bootstrap_servers)
        folder = self._folder / str(number)
        folder.mkdir()
        with Live(self._broker, folder, settings=settings) as live:
            for role, name in (("intake", "intake"), ("ledger", "a"), ("ledger", "b"), ("rollup", "rollup")):
                live.start(role, name)
            watch = Watch(live)
            for day in days:
                more = [
                    event
                    for place, history in zip(range(TOGETHER), drawn, strict=False)
                    for event in elsewhere(history, place)
                ]
                again = more + chance.choices(more, k=len(more) // REPEATED_OF)
                chance.shuffle(again)
                live.publish(again)
                live.wait_until_taken_in()
                self._collect(engine, more)
                expected = {record["region"]: record for record in engine.count(day).regions}
                found = compare(expected, watch.turn_day(day))
                assert not found, f"seed {self._begin}, ledger {number}, {day}, {rules}:\n" + "\n".join(found[:20])
                self.days, self.histories, self.events = (
                    self.days + 1,
                    self.histories + TOGETHER,
                    self.events + len(more),
                )
            watch.close()
            self._compare_anomalies(live, engine, number)
        self.ledgers += 1

    def _collect(self, engine: Engine, events: list[Json]) -> None:
        for event in events:
            admitted = admit(json.dumps(event).encode(), self._pseudonymise)
            if isinstance(admitted, Admitted):
                engine.add(admitted.subject, admitted.event)

    def _compare_anomalies(self, live: Live, engine: Engine, number: int) -> None:
        expected: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
        for anomaly in engine.count(DAYS[-1]).anomalies:
            if anomaly.subject is not None:
                expected[anomaly.subject].add((anomaly.source, anomaly.id, anomaly.kind))
        found = {
            record.key.decode(): {
                (one["event"]["source"], one["event"]["id"], one["kind"])
                for one in json.loads(record.value)["anomalies"]
            }
            for record in live.read(ANOMALIES, live.partitions)
        }
        assert {subject: kinds for subject, kinds in found.items() if kinds} == expected, (
            f"seed {self._begin}, ledger {number}"
        )

    def summary(self) -> str:
        """What was compared; a disagreement ends the search."""
        return (
            f"core and live agents compared on {self.histories:,} histories of {self.events:,} events, "
            f"{self.ledgers:,} ledgers, {self.days:,} days"
        )


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_live_and_core_agree_at_length(kafka: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As long as LAMPIT_FUZZ_LIVE_SECONDS says; LAMPIT_FUZZ_SEED repeats a search."""
    begin = int(os.environ.get("LAMPIT_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
    until = time.monotonic() + SECONDS
    search = LiveSearch(kafka, tmp_path, begin)
    with capsys.disabled():
        print(f"\nseed {begin}: {SECONDS:.0f} seconds of live ledgers", flush=True)
    disagreements = 1
    try:
        for number in count(begin):
            if time.monotonic() > until:
                break
            search.one_ledger(number)
        disagreements = 0
    finally:
        with capsys.disabled():
            print(f"{search.summary()}: {disagreements} disagreements", flush=True)
    assert search.ledgers
