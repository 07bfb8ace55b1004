"""What the figures have to be: the same events by the counting engine, and coverage added up from partials.

In: raw events; the records of `lampit.partials`. Out: coverage records by region, to be compared by tests/live.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from lampit import reference
from stream import coverage
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.partials import HeadRecord, decode
from stream.pseudonym import Pseudonymiser
from stream.regions import TRANSIT
from stream.rollup import Partial, Rollup
from stream.rules import Rules
from tests.live import KEY

AS_OF: Final = date(2019, 3, 28)
Coverage = dict[str, dict[str, Any]]


def admitted_events(lines: Iterable[bytes]) -> list[Admitted]:
    """The events, each of which intake accepts."""
    pseudonymise = Pseudonymiser(KEY.encode())
    found = []
    for line in lines:
        admitted = admit(line, pseudonymise)
        assert isinstance(admitted, Admitted), "made-up events are accepted"
        found.append(admitted)
    return found


def by_engine(admitted: Iterable[Admitted]) -> Coverage:
    """Coverage by the engine of `lampit count`."""
    engine = Engine(Rules(), reference.load())
    for one in admitted:
        engine.add(one.subject, one.event)
    return {record["region"]: record for record in engine.count(AS_OF).regions}


def from_partials(records: Iterable[Any]) -> Coverage:
    """Coverage added up from what ledger workers published."""
    names = coverage.Names(reference.load(), AS_OF.toordinal())
    rollup = Rollup(places=names.reference.places)
    rollup.apply(0, TRANSIT, Partial())
    for record in records:
        decoded = decode(record.key, record.value)
        if not isinstance(decoded, HeadRecord):
            rollup.apply(decoded.partition, decoded.region, decoded.partial())
    found = [coverage.record(code, figure, names) for code, figure in rollup.take_changed(AS_OF.toordinal())]
    return {record["region"]: json.loads(json.dumps(record)) for record in found}
