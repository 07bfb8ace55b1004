"""What one seed sends: a few people of the stories in whole, lives, cancellations, families, balances, repeats, bad input.

In: a source of chance. Out: payloads in the order in which they reach the intake topics, and the days that turn meanwhile.
Few people and few partitions, so that a fault meets the events that matter in a run of a fraction of a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from random import Random
from typing import Any, Final

from bench.people import events as lives
from tests.bad_input import ALL as BAD
from tests.broker.test_live import case_events, scenario_events
from tests.families import changes_of_nik

TURNS: Final = tuple(
    map(
        date.fromisoformat,
        (
            "2019-01-27", "2019-01-29", "2019-03-01", "2019-03-02", "2019-03-29", "2019-05-01", "2019-10-08", "2019-10-09"
        ),
    )
)  # fmt: skip
MOVED: Final = (b"12.03.07.1009", b"12.03.07.2004", b"12.19.02.2002", b"12.19.02.2003")
"""Villages that lie in another district, so under another code, from 8 October on."""

PEOPLE_MAX: Final = 14
REPEATED_SHARE: Final = 0.15
FAMILY: Final = 4
CANCELLED_AGAIN_SHARE: Final = 0.6
"""Of cancellations: between the two somebody counts differently, and in the end as before."""

CANCELS_NOTHING_SHARE: Final = 0.5
"""Of the same people: their list of anomalies is not empty, whichever of their NIKs it is given out under."""


_VILLAGE: Final = re.compile(rb"16\.05\.\d\d\.\d{3}(\d)")


def payloads(chance: Random) -> list[bytes | None]:
    """Records for the intake topics."""
    people, balances = _stories()
    chosen = chance.sample(people, chance.randint(4, PEOPLE_MAX))
    found: list[bytes | None] = [line for person in chosen for line in person]
    found += chance.sample(balances, chance.choice((0, 0, 1, 3)))
    own = [_some_moved(line) for line in lives(chance.randint(10, 40), chance.randrange(1_000_000))]
    found += own
    if chance.random() < 0.6:
        found += _changes_of_nik(own, chance)
    if chance.random() < 0.6:
        found += _cancellations(chance.sample(own, chance.randint(2, 8)), chance)
    found += [bad.payload for bad in chance.sample(BAD, 3)]
    found += [line for line in found if chance.random() < REPEATED_SHARE]
    chance.shuffle(found)
    return found


def days(chance: Random) -> list[date]:
    """The days that turn, the last one when everything that was sent is counted."""
    return sorted(chance.sample(TURNS, chance.randint(2, 4)))


@lru_cache(maxsize=1)
def _stories() -> tuple[list[list[bytes]], list[bytes]]:
    """The events of each person of the stories, and the balances among them."""
    people: dict[str, list[bytes]] = {}
    balances = []
    for event in case_events() + scenario_events():
        line = json.dumps(event).encode()
        if "nik" in event["data"]:
            people.setdefault(event["data"]["nik"], []).append(line)
        else:
            balances.append(line)
    return list(people.values()), balances


def _some_moved(line: bytes) -> bytes:
    """A life in every third village is one in a village that changes its code."""
    return _VILLAGE.sub(lambda found: MOVED[int(found[1]) // 3] if int(found[1]) % 3 == 0 else found[0], line)


def _changes_of_nik(lines: list[bytes], chance: Random) -> list[bytes]:
    """Some people under several NIKs, chained together."""
    niks = sorted({json.loads(line)["data"]["nik"] for line in lines})
    return [json.dumps(change).encode() for change in changes_of_nik(niks[: chance.randint(2, 8)], FAMILY)]


def _cancellations(lines: list[bytes], chance: Random) -> Iterator[bytes]:
    """Each of these events is cancelled, and some of the cancellations are; some people also have one of what never came."""
    for number, line in enumerate(lines):
        cancelled = json.loads(line)
        yield _cancellation(cancelled, f"c{number}")
        if chance.random() < CANCELLED_AGAIN_SHARE:
            yield _cancellation(cancelled | {"id": f"c{number}"}, f"d{number}")
        if chance.random() < CANCELS_NOTHING_SHARE:
            yield _cancellation(cancelled | {"id": "never sent"}, f"e{number}")


def _cancellation(event: dict[str, Any], name: str) -> bytes:
    cancels = {"source": event["source"], "id": event["id"]}
    data = {"nik": event["data"]["nik"], "occurred_on": "2019-03-20", "cancels": cancels}
    return json.dumps({**event, "id": name, "type": "lampit.cancellation.v1", "data": data}).encode()
