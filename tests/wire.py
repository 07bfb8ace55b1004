"""Events as producers send them, for tests: one example of each type, and Hypothesis strategies for all of them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from hypothesis import strategies as st

from schemas.events import TYPES
from stream.pseudonym import Pseudonymiser

KEY: Final = b"a key for tests, of thirty-two bytes or more"
PSEUDONYMISE: Final = Pseudonymiser(KEY)

NIK: Final = "1605024203190001"
OTHER_NIK: Final = "1605024203190002"

_PLACED: Final = {"nik": NIK, "occurred_on": "2019-03-02", "region": "16.05.02.2001"}
_UNPLACED: Final = {"nik": NIK, "occurred_on": "2019-03-02"}

DATA: Final[dict[str, dict[str, Any]]] = {
    "register": {**_PLACED, "person": {"birth_date": "1990-01-01", "sex": "F"}},
    "birth": {**_PLACED, "sex": "F"},
    "death": _PLACED,
    "move_out": {**_PLACED, "destination": "15.03.01.2001", "letter": "SKPWNI/1605/2019/1"},
    "move_in": {**_PLACED, "origin": "abroad"},
    "recording": {**_PLACED, "status": "printed", "service_point": "16.05"},
    "marriage": _UNPLACED,
    "residence_permit": {**_UNPLACED, "citizen": False, "permanent_permit": {"from": "2019-01-01"}},
    "correction": {**_UNPLACED, "birth_date": "2001-01-01"},
    "missing": _PLACED,
    "found": _PLACED,
    "nik_change": {**_UNPLACED, "new_nik": OTHER_NIK},
    "cancellation": {**_UNPLACED, "cancels": {"source": "/siak/1605", "id": "another"}},
    "opening_balance": {
        "occurred_on": "2019-02-28",
        "region": "16.09",
        "counts": {"population": 400_000, "obliged": {"M": 135_000, "F": 135_764}},
        "turning_17": [{"on": "2019-03-01", "count": 12}],
    },
}
"""The data of one good event of each type."""


def event(kind: str, **changed: Any) -> dict[str, Any]:
    """A good event; changed: fields of the envelope."""
    return {
        "specversion": "1.0",
        "id": "01957c2e-7d5c-7aaa-9e0e-3f6f0c6f1c11",
        "source": "/siak/1605",
        "type": f"lampit.{kind}.v1",
        "time": "2019-03-05T09:12:00+07:00",
        "data": DATA[kind],
        **changed,
    }


def raw(kind: str, envelope: dict[str, Any] | None = None, **changed: Any) -> bytes:
    """The same as bytes; changed: fields of the data, `...` takes one away."""
    data = {name: value for name, value in {**DATA[kind], **changed}.items() if value is not ...}
    return json.dumps(event(kind, **{"data": data, **(envelope or {})})).encode()


_FIRST: Final = datetime(1900, 1, 2)  # noqa: DTZ001 - the offset is added to the text
_LAST: Final = datetime(2200, 12, 30)  # noqa: DTZ001

_CODES = st.sampled_from(["16", "16.05", "16.05.02", "16.05.02.2001", "91.01.01.1001", "64.72.01.1001"])
_VILLAGES = st.sampled_from(["16.05.02.2001", "91.01.01.1001", "64.72.01.1001"])
_DAYS = st.dates().map(lambda day: day.isoformat())
_SEXES = st.sampled_from(["M", "F"])
_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Nd")), min_size=1, max_size=40)
_NIKS = st.from_regex(r"[1-9][0-9]{15}", fullmatch=True).map(lambda nik: nik[:16])
_COUNTS = st.integers(0, 10_000_000_000)
_COUNT = _COUNTS | st.fixed_dictionaries({"M": _COUNTS, "F": _COUNTS})
_FLAGS = st.booleans() | st.none()
_PLACES = st.none() | st.just("abroad") | _CODES


@st.composite
def _instants(draw: st.DrawFn) -> str:
    moment = draw(st.datetimes(min_value=_FIRST, max_value=_LAST))
    offset = draw(st.sampled_from(["Z", "z", "+07:00", "+08:00", "+09:00", "-03:30", "+00:00", "-00:00"]))
    return moment.isoformat() + offset


@st.composite
def _permits(draw: st.DrawFn) -> dict[str, Any]:
    first, last = sorted([draw(_DAYS), draw(_DAYS)])
    return draw(st.sampled_from([{"from": first, "until": last}, {"from": first}, {"from": first, "until": None}]))


def _person(**required: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    said = {
        "birth_date": st.none() | _DAYS,
        "sex": st.none() | _SEXES,
        "ever_married_on": st.none() | _DAYS,
        "recorded_on": st.none() | _DAYS,
        "citizen": _FLAGS,
        "permanent_permit": st.none() | _permits(),
    }
    return st.fixed_dictionaries(required, optional={name: said[name] for name in said if name not in required})


@st.composite
def good_events(draw: st.DrawFn, kinds: st.SearchStrategy[str] | None = None) -> dict[str, Any]:
    """Any event that is to be accepted."""
    kind = draw(st.sampled_from(sorted(DATA)) if kinds is None else kinds)
    occurred_on = draw(_DAYS)
    required: dict[str, st.SearchStrategy[Any]] = {"nik": _NIKS, "occurred_on": st.just(occurred_on)}
    optional: dict[str, st.SearchStrategy[Any]] = {"person": st.none() | _person()}
    if "region" in DATA[kind]:
        required["region"] = _VILLAGES
    match kind:
        case "register":
            required["person"] = _person(birth_date=st.just(occurred_on))
            optional = {"in_opening": _FLAGS}
        case "birth":
            required |= {"sex": _SEXES, "occurred_on": st.just("1899-06-01")}
            optional = {draw(st.sampled_from(["stillborn", "already_registered"])): _FLAGS}
        case "move_out":
            optional |= {"destination": _PLACES, "letter": st.none() | _TEXT}
        case "move_in":
            optional |= {"origin": _PLACES, "letter": st.none() | _TEXT}
        case "recording":
            statuses = ["captured", "sent", "print_ready", "printed", "delivered", "failed", "duplicate", None]
            optional |= {"status": st.sampled_from(statuses), "service_point": st.none() | _CODES}
        case "residence_permit":
            required["citizen"] = st.booleans()
            optional["permanent_permit"] = st.none() | _permits()
        case "correction":
            required["sex"] = _SEXES
            optional["birth_date"] = st.none() | _DAYS
        case "nik_change":
            required["new_nik"] = st.just("9" * 16)
        case "cancellation":
            required["cancels"] = st.fixed_dictionaries({"source": _TEXT, "id": _TEXT.map(lambda text: f"{text}!")})
        case "opening_balance":
            measures = ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued")
            del required["nik"]
            required["region"] = st.just("ID") | _CODES
            required["counts"] = st.fixed_dictionaries({}, optional=dict.fromkeys(measures, st.none() | _COUNT))
            schedule = st.lists(st.fixed_dictionaries({"on": _DAYS, "count": _COUNT}), max_size=4)
            optional = {"turning_17": st.none() | schedule}
    return {
        "specversion": "1.0",
        "id": draw(st.uuids().map(str) | _TEXT),
        "source": draw(_TEXT),
        "type": f"lampit.{kind}.v1",
        "time": draw(_instants()),
        "data": draw(st.fixed_dictionaries(required, optional=optional)),
    }


assert {f"lampit.{kind}.v1" for kind in DATA} == set(TYPES)
