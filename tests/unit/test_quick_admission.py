"""The quick path of admission says what the schema says, or nothing; and it is what ordinary events take."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.rejection import Reason
from stream.admission import Admitted, admit_by_schema
from stream.quick_admission import admit_quickly
from tests.bad_input import ALL, Bad
from tests.odd_input import COMMON, NAMES, ODD, common_events, objects_of, written_oddly
from tests.wire import DATA, NIK, OTHER_NIK, PSEUDONYMISE, event, raw

WAYS = 20


def _agree(payload: bytes) -> None:
    quick = admit_quickly(payload, PSEUDONYMISE)
    assert quick is None or quick == admit_by_schema(payload, PSEUDONYMISE), payload


def _agree_on_odd_ways_to_write(sent: dict[str, Any], seed: int) -> None:
    for way in range(WAYS):
        _agree(written_oddly(sent, Random(seed + way)))


@given(common_events(), st.integers(0, 2**32))
def test_quick_is_nothing_or_what_the_schema_says(sent: dict[str, Any], seed: int) -> None:
    _agree_on_odd_ways_to_write(sent, seed)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@settings(max_examples=20_000)
@given(common_events(), st.integers(0, 2**32))
def test_quick_is_nothing_or_what_the_schema_says_for_long(sent: dict[str, Any], seed: int) -> None:
    """400,000 inputs."""
    _agree_on_odd_ways_to_write(sent, seed)


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.name)
def test_no_bad_input_is_accepted_quickly(bad: Bad) -> None:
    if bad.payload is not None and bad.reason is not Reason.TOO_LARGE:  # seen before
        assert admit_quickly(bad.payload, PSEUDONYMISE) is None


@pytest.mark.parametrize("kind", COMMON)
@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_every_field_holds_every_odd_value(kind: str, separators: tuple[str, str] | None) -> None:
    """One at a time, exhaustively, which a random search is not."""
    for number in range(3):
        for name in NAMES:
            for value in ODD:
                sent = json.loads(json.dumps(event(kind)))
                sent["data"].setdefault("person", {"birth_date": DATA[kind]["occurred_on"]})
                objects_of(sent)[number][name] = value
                payload = json.dumps(sent, ensure_ascii=False, separators=separators)
                _agree(payload.encode("utf-8", "surrogatepass"))


@given(common_events())
@example(event("register"))
@example(event("birth"))
@example(event("death"))
@example(event("move_out"))
@example(event("move_in"))
@example(event("recording"))
def test_ordinary_events_are_admitted_quickly(sent: dict[str, Any]) -> None:
    """Of what is accepted, only what the module names is left to the schema."""
    payload = json.dumps(sent, ensure_ascii=False).encode()
    person = sent["data"].get("person")
    texts = (sent["id"], sent["source"], sent["data"].get("letter") or "")
    rare = (
        not payload.isascii()
        or b"\\" in payload
        or any("," in text for text in texts)
        or (person is not None and ("permanent_permit" in person or all(value is None for value in person.values())))
    )
    if not rare:
        quick = admit_quickly(payload, PSEUDONYMISE)
        assert isinstance(quick, Admitted)
        assert quick == admit_by_schema(payload, PSEUDONYMISE)


@pytest.mark.parametrize(
    "payload",
    [
        raw("death", {"datacontenttype": "application/cloudevents+json"}),
        raw("death", {"id": "15 digits 160502420319000"}),
        raw("death", {"time": "2019-03-05t02:12:00.123456789z"}),
        raw("death", person={"recorded_on": "2012-05-05", "citizen": False}),
        raw("death", person=None),
        raw("move_out", destination=None, letter=None),
        raw("move_in", origin="16.05"),
        raw("birth", stillborn=True),
        raw("birth", already_registered=None, person={"birth_date": "2019-03-02", "sex": "F"}),
        raw("register", in_opening=True),
        raw("recording", status=None, service_point=...),
        b" \n" + raw("recording", status=...) + b"\n",
    ],
)
def test_these_are_ordinary(payload: bytes) -> None:
    quick = admit_quickly(payload, PSEUDONYMISE)
    assert quick is not None
    assert quick == admit_by_schema(payload, PSEUDONYMISE)


@pytest.mark.parametrize("kind", sorted(set(DATA) - set(COMMON)))
def test_other_types_are_left_to_the_schema(kind: str) -> None:
    assert admit_quickly(raw(kind), PSEUDONYMISE) is None


def test_any_function_may_name_the_subject() -> None:
    """`lampit count` keeps the NIK itself in memory, and makes a pseudonym only of what it prints."""
    quick = admit_quickly(raw("death"), lambda nik: nik)
    assert quick is not None
    assert quick.subject == NIK
    assert admit_by_schema(raw("death", nik=OTHER_NIK, note="x"), lambda nik: nik).subject == OTHER_NIK  # type: ignore[union-attr]
