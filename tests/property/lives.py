"""Random lives, randomly reported: what the property tests feed to the counters.

Few people, few places and few days, so that conflicts, late reports, cancellations, balances and merges meet often.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

VILLAGES = ("16.09.01.1013", "16.09.01.2001", "16.09.02.2002", "16.05.02.2001", "51.71.01.1001", "16.09.99.2001")
REGIONS = ("16.09", "16.09.01", "16", "16.05.02.2001", "ID", "51.71")
ORIGINS = (*VILLAGES, "16.09", "15.03", "abroad", None, None)
DAYS = tuple(date(2018, 6, 1) + timedelta(days=day) for day in (0, 100, 213, 271, 272, 273, 274, 300, 301, 400, 700))
BIRTHS = (date(1950, 1, 1), date(2001, 9, 9), date(2002, 2, 28), date(2002, 3, 1), date(2004, 2, 29))
SOURCES = ("/siak/1605", "/siak/1609")

Json = dict[str, Any]

_days = st.sampled_from(DAYS).map(date.isoformat)
_births = st.sampled_from(BIRTHS).map(date.isoformat)
_villages = st.sampled_from(VILLAGES)
_clocks = st.sampled_from(("00:30:00+07:00", "10:00:00+07:00", "23:30:00+07:00", "23:30:00+08:00"))
_permit = st.builds(
    lambda first, last, ends: {"from": min(first, last), **({"until": max(first, last)} if ends else {})},
    _days,
    _days,
    st.booleans(),
)
_numbers = st.integers(0, 8) | st.integers(0, 40)
_person = st.fixed_dictionaries(
    {},
    optional={
        "birth_date": _births,
        "sex": st.sampled_from("MF"),
        "ever_married_on": _days,
        "recorded_on": _days,
        "citizen": st.booleans(),
        "permanent_permit": _permit,
    },
)


def _data(kind: str) -> st.SearchStrategy[Json]:
    """The data of one type, without the NIK and occurred_on."""
    own: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "register": {"region": _villages},
        "birth": {"region": _villages, "sex": st.sampled_from("MF")},
        "move_out": {"region": _villages, "destination": st.sampled_from(ORIGINS)},
        "move_in": {"region": _villages, "origin": st.sampled_from(ORIGINS)},
        "recording": {
            "region": _villages,
            "status": st.sampled_from(
                ("captured", "sent", "print_ready", "printed", "delivered", "failed", "duplicate")
            ),
        },
        "marriage": {},
        "residence_permit": {"citizen": st.booleans(), "permanent_permit": st.none() | _permit},
        "correction": {"birth_date": _births, "sex": st.sampled_from("MF")},
    }
    fields = own.get(kind, {"region": _villages})
    if kind == "register":
        person = _person.flatmap(lambda said: _births.map(lambda born: {**said, "birth_date": born}))
        return st.fixed_dictionaries({**fields, "person": person}, optional={"in_opening": st.booleans()})
    if kind == "birth":
        flags = {"already_registered": st.booleans(), "stillborn": st.booleans()}
        return st.fixed_dictionaries(fields, optional=flags).filter(lambda data: not all(map(data.get, flags)))
    optional: dict[str, st.SearchStrategy[Any]] = (
        {} if kind in ("correction", "residence_permit") else {"person": _person}
    )
    if kind == "recording":
        optional["service_point"] = st.sampled_from(("16.05", "51.71", "81.01.01.2001"))
    return st.fixed_dictionaries(fields, optional=optional)


KINDS = (
    "register", "birth", "death", "move_out", "move_in", "recording", "recording", "marriage", "residence_permit",
    "correction", "missing", "found",
)  # fmt: skip


def _event(kind: str, nik: str) -> st.SearchStrategy[Json]:
    def build(data: Json, on: str, reported: str, clock: str, name: int, source: str) -> Json:
        return {
            "specversion": "1.0",
            "id": f"event-{name}",
            "source": source,
            "type": f"lampit.{kind}.v1",
            "time": f"{max(on, reported) if kind == 'birth' else reported}T{clock}",
            "data": {"nik": nik, "occurred_on": on, **data},
        }

    return st.builds(build, _data(kind), _days, _days, _clocks, _numbers, st.sampled_from(SOURCES))


@st.composite
def _cancelled(draw: Any, nik: str) -> Json:
    event: Json = draw(_event("marriage", nik))
    event["type"] = "lampit.cancellation.v1"
    event["data"]["cancels"] = {"source": draw(st.sampled_from(SOURCES)), "id": f"event-{draw(_numbers)}"}
    return event


_counts = st.fixed_dictionaries(
    {},
    optional={
        measure: st.integers(10, 99) | st.fixed_dictionaries({"M": st.integers(5, 50), "F": st.integers(5, 50)})
        for measure in ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued")
    },
)


_scheduled = st.integers(0, 9) | st.fixed_dictionaries({"M": st.integers(0, 5), "F": st.integers(0, 5)})


@st.composite
def _balance(draw: Any) -> Json:
    schedule = [{"on": day, "count": draw(_scheduled)} for day in draw(st.lists(_days, max_size=2, unique=True))]
    on = draw(_days)
    data = {"region": draw(st.sampled_from(REGIONS)), "occurred_on": on, "counts": draw(_counts)}
    return {
        "specversion": "1.0",
        "id": f"balance-{draw(st.integers(0, 5))}",
        "source": draw(st.sampled_from(SOURCES)),
        "type": "lampit.opening_balance.v1",
        "time": f"{draw(_days)}T{draw(_clocks)}",
        "data": {**data, "turning_17": schedule} if schedule else data,
    }


@st.composite
def histories(draw: Any, *, with_nik_changes: bool = True) -> list[Json]:
    """Events of up to four NIKs and up to four balances."""
    events: list[Json] = draw(st.lists(_balance(), max_size=4))
    niks = [f"160902410180000{number}" for number in range(draw(st.integers(1, 4)))]
    for nik in niks:
        kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=7))
        events += [draw(_event(kind, nik)) for kind in kinds]
        if draw(st.booleans()):
            events += draw(st.lists(_cancelled(nik), min_size=1, max_size=3))
        if with_nik_changes and len(niks) > 1 and draw(st.integers(0, 3)) == 0:
            change: Json = draw(_event("marriage", nik))
            change["type"] = "lampit.nik_change.v1"
            change["data"]["new_nik"] = draw(st.sampled_from([other for other in niks if other != nik]))
            change["data"].pop("person", None)
            events.append(change)
    return events
