"""What intake accepts, what it refuses, and that nothing it says of a refusal holds a NIK."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import TYPES
from schemas.rejection import Reason
from stream import admission
from stream.admission import Admitted, Refusal, admit, admit_by_schema
from stream.calendar import ordinal
from stream.events import Birth, OpeningBalance, PersonData, Recording, Register
from tests.bad_input import ALL, REGISTER, UNREADABLE, Bad
from tests.wire import DATA, KEY, NIK, OTHER_NIK, PSEUDONYMISE, event, good_events, raw

DIGITS = re.compile(r"\d{16}")


def assert_tells_nothing(refusal: Refusal) -> None:
    """No NIK in any form in which a refusal can be shown or written."""
    shown = (
        repr(refusal),
        str(refusal),
        str(msgspec.structs.asdict(refusal)),
        json.dumps(msgspec.to_builtins(refusal)),
    )
    for text in (*shown, refusal.message, refusal.pointer, refusal.payload or ""):
        assert not DIGITS.search(text.replace(refusal.digest, "") if refusal.digest else text)
    if refusal.payload is not None:
        json.loads(refusal.payload)
        refusal.payload.encode()


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.name)
def test_bad_input_is_refused_once_with_a_reason_and_tells_nothing(bad: Bad) -> None:
    refusal = admit(bad.payload, PSEUDONYMISE)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.pointer) == (bad.reason, bad.pointer)
    assert refusal.message
    assert refusal.length == len(bad.payload or b"")
    assert_tells_nothing(refusal)


@pytest.mark.parametrize("bad", UNREADABLE, ids=lambda bad: bad.name)
def test_of_an_unparsable_payload_only_length_and_keyed_digest_are_kept(bad: Bad) -> None:
    refusal = admit(bad.payload, PSEUDONYMISE)
    assert isinstance(refusal, Refusal)
    assert refusal.payload is None
    assert refusal.digest == ("" if bad.payload is None else PSEUDONYMISE.digest(bad.payload))


def test_a_masked_payload_keeps_what_helps_and_nothing_personal() -> None:
    payload = raw(
        "move_out", {"Nama": "Siti"}, region="16.05.02", letter="Siti", nama_lengkap="Siti", no_kk=NIK, **{f"x{NIK}": 1}
    )
    refusal = admit(payload, PSEUDONYMISE)
    assert isinstance(refusal, Refusal)
    assert refusal.payload is not None
    assert "Siti" not in refusal.payload
    assert json.loads(refusal.payload) == {
        **event("move_out"),
        "data": {
            "nik": "<text>",
            "occurred_on": "2019-03-02",
            "region": "16.05.02",
            "destination": "15.03.01.2001",
            "letter": "<text>",
            "nama_lengkap": "<text>",
            "no_kk": "<text>",
            "(other)": "<number>",
        },
        "Nama": "<text>",
    }


@pytest.mark.parametrize("kind", sorted(DATA))
def test_an_example_of_every_type_is_accepted(kind: str) -> None:
    admitted = admit(raw(kind), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert admitted.type == f"lampit.{kind}.v1"
    assert admitted.type in TYPES
    assert admitted.subject == (None if kind == "opening_balance" else PSEUDONYMISE(NIK))
    assert admitted.unknown_fields == ()
    assert admitted.event.occurred_on == ordinal(DATA[kind]["occurred_on"])
    assert NIK not in repr(admitted)
    assert OTHER_NIK not in repr(admitted)


def test_defaults_written_out_and_nulls_change_nothing() -> None:
    assert admit(raw("register", in_opening=False), PSEUDONYMISE) == admit(raw("register"), PSEUDONYMISE)
    assert admit(raw("register", in_opening=None), PSEUDONYMISE) == admit(raw("register"), PSEUDONYMISE)
    plain = admit(raw("recording", status=..., service_point=...), PSEUDONYMISE)
    assert admit(raw("recording", status="captured", service_point=None, person=None), PSEUDONYMISE) == plain
    assert admit(raw("recording", status=None, service_point=..., person={"sex": None}), PSEUDONYMISE) == plain
    assert admit(raw("recording", status=..., service_point=..., person={}), PSEUDONYMISE) == plain


def test_what_is_said_is_kept() -> None:
    person = {
        "birth_date": "2001-02-03",
        "citizen": False,
        "permanent_permit": {"from": "2019-01-01", "until": "9999-12-31"},
    }
    admitted = admit(raw("recording", person=person), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert isinstance(admitted.event, Recording)
    said = admitted.event.person
    assert isinstance(said, PersonData)
    assert (said.birth_date, said.sex, said.citizen) == (ordinal("2001-02-03"), None, False)
    assert said.permanent_permit is not None
    assert (said.permanent_permit.begins, said.permanent_permit.until) == (ordinal("2019-01-01"), ordinal("9999-12-31"))


def test_unknown_fields_are_dropped_and_named_at_every_level() -> None:
    payload = raw(
        "register",
        {"datacontenttype": "application/json"},
        person={"birth_date": "1990-01-01", "name": "Siti", "permanent_permit": {"from": "2019-01-01", "no": "1"}},
        no_kk=NIK,
        **{NIK: "x"},
    )
    admitted = admit(payload, PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert sorted(admitted.unknown_fields) == [
        "data.(other)",
        "data.no_kk",
        "data.person.name",
        "data.person.permanent_permit.no",
        "datacontenttype",
    ]
    balance = admit(raw("opening_balance", counts={"obliged": {"M": 1, "F": 1, "unknown": 1}, "all": 3}), PSEUDONYMISE)
    assert isinstance(balance, Admitted)
    assert set(balance.unknown_fields) == {"data.counts.obliged.unknown", "data.counts.all"}


def test_an_object_of_one_unknown_field_only_is_seen() -> None:
    admitted = admit(raw("death", person={"name": "Siti"}), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert admitted.unknown_fields == ("data.person.name",)
    assert admitted.event == admit(raw("death"), PSEUDONYMISE).event  # type: ignore[union-attr]


def test_a_stillborn_without_a_nik_is_a_person_of_its_own() -> None:
    first = admit(raw("birth", nik=..., stillborn=True), PSEUDONYMISE)
    again = admit(raw("birth", nik=None, stillborn=True), PSEUDONYMISE)
    other = admit(raw("birth", {"id": "another"}, nik=..., stillborn=True), PSEUDONYMISE)
    with_nik = admit(raw("birth", stillborn=True), PSEUDONYMISE)
    assert isinstance(first, Admitted)
    assert isinstance(other, Admitted)
    assert isinstance(with_nik, Admitted)
    assert first == again
    assert len({first.subject, other.subject, with_nik.subject}) == 3
    assert with_nik.subject == PSEUDONYMISE(NIK)


@pytest.mark.parametrize(
    ("region", "time", "accepted"),
    [
        ("16.05.02.2001", "2019-03-04T17:00:00Z", True),  # 00:00 WIB on the 5th
        ("16.05.02.2001", "2019-03-04T16:59:59.999999Z", False),
        ("64.72.01.1001", "2019-03-04T16:00:00Z", True),  # WITA
        ("64.72.01.1001", "2019-03-04T15:59:59Z", False),
        ("91.01.01.1001", "2019-03-04T15:00:00Z", True),  # WIT
        ("91.01.01.1001", "2019-03-04T14:59:59Z", False),
    ],
)
def test_the_day_of_a_birth_s_time_is_that_of_its_region(region: str, time: str, accepted: bool) -> None:
    admitted = admit(raw("birth", {"time": time}, occurred_on="2019-03-05", region=region), PSEUDONYMISE)
    assert isinstance(admitted, Admitted) is accepted


def test_only_a_birth_may_not_be_in_the_future() -> None:
    assert isinstance(admit(raw("death", occurred_on="2030-01-01"), PSEUDONYMISE), Admitted)


def test_over_a_hundred_percent_is_legal() -> None:
    admitted = admit(raw("opening_balance", counts={"obliged": 3_213_248, "recorded": 3_269_003}), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert isinstance(admitted.event, OpeningBalance)
    assert admitted.event.counts == {"obliged": 3_213_248, "recorded": 3_269_003}


def test_a_cancellation_of_itself_is_accepted() -> None:
    """It is for the count to see the cycle."""
    itself = {"source": event("cancellation")["source"], "id": event("cancellation")["id"]}
    assert isinstance(admit(raw("cancellation", cancels=itself), PSEUDONYMISE), Admitted)


def test_fifteen_digits_are_no_nik() -> None:
    assert isinstance(admit(raw("death", {"id": f"{NIK[:15]}-{NIK[:15]}"}), PSEUDONYMISE), Admitted)


def test_a_payload_of_exactly_the_limit_is_accepted() -> None:
    assert isinstance(admit(REGISTER + b" " * (65_536 - len(REGISTER)), PSEUDONYMISE), Admitted)


def test_commas_in_texts_do_not_hide_or_make_unknown_fields() -> None:
    admitted = admit(raw("move_out", {"id": "a,b", "source": "c,d,e"}, letter="f,g"), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert admitted.unknown_fields == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(NIK) | st.just(int(NIK)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just(NIK), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_at_all_is_refused_quietly(payload: bytes) -> None:
    refusal = admit(payload, PSEUDONYMISE)
    assert isinstance(refusal, Refusal)
    assert_tells_nothing(refusal)


@given(
    st.sampled_from(sorted(DATA)),
    st.dictionaries(st.sampled_from(["id", "source", "time", "type", "specversion", "x", NIK]), JSON, max_size=2),
    st.dictionaries(
        st.sampled_from([*sorted({name for data in DATA.values() for name in data}), "person", "x", NIK]),
        JSON,
        max_size=3,
    ),
)
def test_good_events_with_anything_in_them_never_raise_nor_leak(
    kind: str, envelope: dict[str, Any], data: dict[str, Any]
) -> None:
    result = admit(raw(kind, envelope, **data), PSEUDONYMISE)
    if isinstance(result, Refusal):
        assert_tells_nothing(result)
    else:
        shown = repr(result)
        for pseudonym in (result.subject, getattr(result.event, "new_subject", None)):
            shown = shown.replace(str(pseudonym), "")
        assert not DIGITS.search(re.sub(r"time=-?\d+", "", shown))


@given(st.data())
def test_cutting_and_changing_bytes_never_raises(data: st.DataObject) -> None:
    payload = bytearray(raw(data.draw(st.sampled_from(sorted(DATA)))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    result = admit(bytes(payload), PSEUDONYMISE)
    if isinstance(result, Refusal):
        assert_tells_nothing(result)


@given(good_events(), st.booleans())
def test_looking_for_unknown_fields_changes_nothing(sent: dict[str, Any], ascii_only: bool) -> None:
    payload = json.dumps(sent, ensure_ascii=ascii_only).encode()
    admitted = admit(payload, PSEUDONYMISE)
    assert isinstance(admitted, Admitted), admitted
    says_no_more = admission._says_no_more
    try:
        admission._says_no_more = lambda raw, sent: False
        assert admit_by_schema(payload, PSEUDONYMISE) == admitted
    finally:
        admission._says_no_more = says_no_more


@given(good_events(), st.data())
def test_a_name_twice_is_always_found(sent: dict[str, Any], data: st.DataObject) -> None:
    """At any level, known or not, and whatever commas the texts hold."""
    text = json.dumps(sent, ensure_ascii=False)
    names = [match.start() for match in re.finditer(r'(?<=[{ ])"(?:[a-z_0-9]+|[MF])": ', text)]
    place = data.draw(st.sampled_from(names))
    name = text[place : text.index(":", place)]
    payload = f"{text[:place]}{name}: null, {text[place:]}".encode()
    for refusal in (admit(payload, PSEUDONYMISE), admit_by_schema(payload, PSEUDONYMISE)):
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.NOT_JSON


def test_types_of_events_are_what_they_seem() -> None:
    assert isinstance(admit(raw("register"), PSEUDONYMISE).event, Register)  # type: ignore[union-attr]
    assert isinstance(admit(raw("birth"), PSEUDONYMISE).event, Birth)  # type: ignore[union-attr]


def test_the_key_is_in_nothing() -> None:
    assert KEY.decode() not in repr(PSEUDONYMISE)


def test_the_record_of_the_largest_refusal_is_taken_by_its_topic() -> None:
    """Masking can make a payload longer: a digit becomes a word in quotes, and those are escaped in the record."""
    row = f"[{','.join('1' * 40)}]"
    square = f"[{','.join([row] * 40)}]"
    payload = f'{{"specversion":"1.0","type":"lampit.register.v1","data":{{"turning_17":[{",".join([square] * 19)}]}}}}'
    assert admission.PAYLOAD_BYTES_MAX * 0.9 < len(payload) <= admission.PAYLOAD_BYTES_MAX
    refused = admit(payload.encode(), PSEUDONYMISE)
    assert isinstance(refused, Refusal)
    assert refused.payload is not None
    assert len(json.dumps(refused.payload, ensure_ascii=False).encode()) < 2**20 / 2
