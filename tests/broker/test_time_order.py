"""A backlog of several topics is taken in by the time at which it was sent, on real Kafka."""

from __future__ import annotations

import json
from pathlib import Path

from agents.topics import LEDGER
from lampit.publish import address
from tests.brokers import Broker
from tests.live import Live
from tests.wire import raw

PEOPLE = 6_000
FIRST_SENT_MS = 1_700_000_000_000
NEAR = 200
"""Records of a partition between two events of a person: where topics come one after the other it is thousands."""


def test_what_was_sent_together_comes_together_whatever_its_topic(kafka: Broker, tmp_path: Path) -> None:
    with Live(kafka, tmp_path, partitions=2) as live:
        with live.producer() as producer:
            for kind in ("recording", "register"):
                for number in range(PEOPLE):
                    nik = f"16050242031{number:05}"
                    line = raw(kind, {"id": f"{kind}-{number}"}, nik=nik)
                    topic, key = address(line)
                    later = kind == "recording"
                    producer.send(topic, line, key=key, timestamp_ms=FIRST_SENT_MS + 2 * number + later)
        live.start("intake")
        live.wait_until_taken_in()
        places: dict[bytes, dict[str, int]] = {}
        for record in live.read(LEDGER, 2):
            if (kind := json.loads(record.value)["type"].split(".")[1]) in ("recording", "register"):
                places.setdefault(record.key, {})[kind] = record.offset
    apart = [place["recording"] - place["register"] for place in places.values()]
    assert len(apart) == PEOPLE
    assert sum(0 < one < NEAR for one in apart) > 0.9 * PEOPLE, sorted(apart)[:: PEOPLE // 20]
