"""The job of the peers with quixstreams: drop repeats, send on by village, add up by village and type.

In: servers, topic of events, name of the run, folder for the stores, "at-least-once" or "exactly-once". Out: NAME-by-village,
NAME-totals. Run by the Python of .cache/peers/quixstreams (scripts/peers), until it is killed. State is in RocksDB with its
changelogs; everything not set here is quixstreams' default (a commit every 5 s).
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application

from bench.village_sums import village_of

SERVERS, EVENTS, NAME, FOLDER, GUARANTEE = sys.argv[1:6]


def is_new(event: dict[str, Any], state: Any) -> bool:
    """Each event once; what a state holds is under the key of the record, here the NIK."""
    name = f"{event['source']} {event['id']}"
    if state.exists(name):
        return False
    state.set(name, 1)
    return True


def add_up(told: dict[str, str], state: Any) -> str:
    """The total as it stands after this event."""
    total = state.get(told["type"], 0) + 1
    state.set(told["type"], total)
    return f"{told['village']} {told['type']} {total}"


def main() -> None:
    """Both stages in one application, as its transactions need it."""
    exactly_once = GUARANTEE == "exactly-once"
    app = Application(
        broker_address=SERVERS,
        consumer_group=NAME,
        auto_offset_reset="earliest",
        state_dir=FOLDER,
        processing_guarantee=GUARANTEE,
        # A new one at each start, which is the default, leaves the transaction of a killed process open for a minute.
        producer_extra_config={"transactional.id": NAME} if exactly_once else {},
        loglevel="WARNING",
    )
    events = app.topic(EVENTS)
    by_village = app.topic(f"{NAME}-by-village", key_serializer="str", key_deserializer="str")
    totals = app.topic(f"{NAME}-totals", key_serializer="str", value_serializer="str")
    once = app.dataframe(events).filter(is_new, stateful=True)
    told = once.apply(lambda event: {"village": village_of(event), "type": event["type"]})
    told.to_topic(by_village, key=lambda value: value["village"])
    sums = app.dataframe(by_village).apply(add_up, stateful=True)
    sums.to_topic(totals, key=lambda text: text.partition(" ")[0])
    app.run()


main()
