"""A long search for histories that the live agents count differently from the core; `make fuzz` runs it.

One ledger after another on a Kafka broker, four partitions, intake, two ledger workers, the roll-up. Between two days more
random histories come in, shuffled, some of them twice; at the end of each day every region's figures, and at the end of
a ledger every person's anomalies, must be those of the core over everything sent so far. What the core says is held
against the SQL recount by test_search.py.
"""

from __future__ import annotations

import os
import random
import time
from itertools import count
from pathlib import Path

import pytest

from stream.rules import Rules
from tests.brokers import Broker, delete_topics
from tests.live import Live, assert_anomalies_equal
from tests.property.lives import DAYS
from tests.property.test_search import TOGETHER, elsewhere, made

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
        self.ledgers = self.days = self.histories = self.events = 0

    def one_ledger(self, number: int) -> None:
        """Count some histories on a ledger of their own."""
        chance = self._chance
        rules = Rules(chance.choice([None, chance.randint(1, 130)]), chance.choice(("mar1", "feb28")))
        settings: dict[str, str] = {"LAMPIT_LEAP_BIRTHDAY": rules.leap_birthday}
        if rules.transit_expiry_days is not None:
            settings["LAMPIT_TRANSIT_EXPIRY_DAYS"] = str(rules.transit_expiry_days)
        days = sorted(chance.sample(DAYS, 5))
        drawn = iter(made(number, TOGETHER * len(days)))
        delete_topics(self._broker.bootstrap_servers)
        folder = self._folder / str(number)
        folder.mkdir()
        with Live(self._broker, folder, settings=settings) as live:
            for role, name in (("intake", "intake"), ("ledger", "a"), ("ledger", "b"), ("rollup", "rollup")):
                live.start(role, name)
            for day in days:
                more = [
                    event
                    for place, history in zip(range(TOGETHER), drawn, strict=False)
                    for event in elsewhere(history, place)
                ]
                again = more + chance.choices(more, k=len(more) // REPEATED_OF)
                chance.shuffle(again)
                live.publish(again)
                live.turn_day(day)
                found = live.differences(day, live.wait_until_counted(day))
                assert not found, f"seed {self._begin}, ledger {number}, {day}, {rules}:\n" + "\n".join(found[:20])
                self.days, self.histories, self.events = (
                    self.days + 1,
                    self.histories + TOGETHER,
                    self.events + len(more),
                )
            assert_anomalies_equal(live, days[-1])
        self.ledgers += 1

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
