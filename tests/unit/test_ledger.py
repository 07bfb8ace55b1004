"""The ledger's records: there and back exactly, the accepted form, and the digest that decides conflicts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ledger import AnyLedgerRecord
from stream.admission import Admitted, admit
from stream.events import NikChange, OpeningBalance
from stream.ledger import (
    ControlRecord,
    Day,
    Epoch,
    EpochSettings,
    Genesis,
    LedgerRecord,
    content,
    content_digest,
    control_key,
    decode_record,
    encode_control,
    encode_record,
    record_key,
)
from tests.wire import DATA, NIK, OTHER_NIK, PSEUDONYMISE, good_events, raw

INSTANTS = st.integers(-2_208_988_800_000_000, 7_289_567_999_999_999)
CONTROLS: list[Genesis | Epoch | Day] = [
    Genesis("7f2c", 4, 0, "ab12"),
    Epoch(1, "1", EpochSettings(), "cd34"),
    Epoch(2, "1", EpochSettings(90, "feb28", 15, "2019-03"), "cd34"),
    Day(737_000),
]


def admitted(sent: dict[str, Any] | bytes) -> Admitted:
    """The event, which must be accepted."""
    result = admit(sent if isinstance(sent, bytes) else json.dumps(sent).encode(), PSEUDONYMISE)
    assert isinstance(result, Admitted), result
    return result


def shuffled(value: Any, data: st.DataObject) -> Any:
    """The same JSON with the members of every object in another order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name], data) for name in data.draw(st.permutations(list(value)))}
    return [shuffled(member, data) for member in value] if isinstance(value, list) else value


@given(good_events(), INSTANTS, st.none() | st.just("0" * 32))
def test_what_is_written_is_read(sent: dict[str, Any], received_at: int, forwarded_from: str | None) -> None:
    accepted = admitted(sent)
    record = encode_record(accepted.subject, accepted.event, received_at, forwarded_from)
    assert decode_record(record) == LedgerRecord(accepted.subject, accepted.event, received_at, forwarded_from)


@given(good_events(), INSTANTS)
def test_a_record_is_as_the_schema_says_and_holds_nothing_else(sent: dict[str, Any], received_at: int) -> None:
    accepted = admitted(sent)
    record = encode_record(accepted.subject, accepted.event, received_at)
    read = AnyLedgerRecord.model_validate_json(record)
    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == json.loads(record)
    assert sent["data"].get("nik", "no NIK") not in json.dumps(json.loads(record)["data"])


@given(good_events())
def test_the_ledger_form_with_the_nik_is_accepted_as_the_same_event(sent: dict[str, Any]) -> None:
    accepted = admitted(sent)
    record = json.loads(encode_record(accepted.subject, accepted.event, 0))
    for name in ("subject", "receivedat"):
        record.pop(name, None)
    record["data"].pop("new_subject", None)
    niks = {name: sent["data"][name] for name in ("nik", "new_nik") if sent["data"].get(name)}
    record["data"] |= niks
    again = admitted(record)
    assert again == admitted(sent) == accepted
    assert again.unknown_fields == ()


@given(good_events(), st.data())
def test_the_digest_does_not_depend_on_the_order_of_names(sent: dict[str, Any], data: st.DataObject) -> None:
    assert content_digest(admitted(shuffled(sent, data)).event) == content_digest(admitted(sent).event)


@given(good_events())
def test_the_digest_is_of_the_canonical_json_of_the_content(sent: dict[str, Any]) -> None:
    """RFC 8785, spelt out for what a record can hold: ASCII names, integers, texts without control characters."""
    event = admitted(sent).event
    canonical = json.dumps(content(event), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert content_digest(event) == hashlib.sha256(canonical).digest()


@pytest.mark.parametrize(
    ("kind", "written_out"),
    [
        ("register", {"in_opening": False}),
        ("birth", {"stillborn": False, "already_registered": False}),
        ("move_out", {"destination": None, "letter": None}),
        ("move_in", {"origin": None, "letter": None}),
        ("recording", {"status": "captured", "service_point": None}),
        ("residence_permit", {"permanent_permit": None}),
        ("correction", {"sex": None}),
        ("death", {"person": None}),
        ("opening_balance", {"turning_17": None}),
    ],
)
def test_a_default_written_out_is_no_other_content(kind: str, written_out: dict[str, Any]) -> None:
    left_out: dict[str, Any] = dict.fromkeys(written_out, ...)
    without = admitted(raw(kind, **left_out))
    assert content_digest(admitted(raw(kind, **written_out)).event) == content_digest(without.event)
    assert not written_out.keys() & content(without.event)["data"].keys()


def test_the_same_instant_in_another_zone_is_no_other_content() -> None:
    here = admitted(raw("death", {"time": "2019-03-05T09:12:00+07:00"}))
    there = admitted(raw("death", {"time": "2019-03-05T02:12:00.000000Z"}))
    assert content_digest(here.event) == content_digest(there.event)
    assert content(here.event)["time"] == "2019-03-05T02:12:00Z"


def test_citizen_is_kept_when_it_is_given() -> None:
    said = admitted(raw("death", person={"citizen": True}))
    assert content(said.event)["data"]["person"] == {"citizen": True}


def test_the_content_names_no_person() -> None:
    change = admitted(raw("nik_change"))
    assert isinstance(change.event, NikChange)
    assert change.event.new_subject == PSEUDONYMISE(OTHER_NIK)
    assert set(content(change.event)) == {"specversion", "id", "source", "type", "time", "data"}
    assert content(change.event)["data"] == {"occurred_on": "2019-03-02"}


def test_the_example_of_the_accepted_form() -> None:
    """Byte for byte: the digest of a conflict depends on it for ever."""
    accepted = admitted(raw("birth", {"time": "2019-03-05T09:12:00.5+07:00"}, sex="F", stillborn=False))
    assert (
        content_digest(accepted.event)
        == hashlib.sha256(
            b'{"data":{"occurred_on":"2019-03-02","region":"16.05.02.2001","sex":"F"},'
            b'"id":"01957c2e-7d5c-7aaa-9e0e-3f6f0c6f1c11","source":"/siak/1605","specversion":"1.0",'
            b'"time":"2019-03-05T02:12:00.500000Z","type":"lampit.birth.v1"}'
        ).digest()
    )


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_control_records_are_read_as_written(control: Genesis | Epoch | Day) -> None:
    record = encode_control(control, 1_551_751_920_000_000)
    assert decode_record(record) == ControlRecord(control, 1_551_751_920_000_000)
    read = AnyLedgerRecord.model_validate_json(record)
    assert json.loads(read.model_dump_json(exclude_unset=True)) == json.loads(record)


def test_keys() -> None:
    death = admitted(raw("death"))
    balance = admitted(raw("opening_balance"))
    assert isinstance(balance.event, OpeningBalance)
    assert record_key(death.subject, death.event) == PSEUDONYMISE(NIK).encode()
    assert record_key(balance.subject, balance.event) == b"balance|16.09"
    assert [control_key(control) for control in CONTROLS] == [
        b"control|genesis",
        b"control|epoch",
        b"control|epoch",
        b"control|day",
    ]


@pytest.mark.parametrize("kind", sorted(DATA))
@pytest.mark.parametrize("lost", ["receivedat", "subject", "occurred_on", "region", "time", "type"])
def test_a_damaged_record_is_an_error(kind: str, lost: str) -> None:
    accepted = admitted(raw(kind))
    record = json.loads(encode_record(accepted.subject, accepted.event, 0))
    holder = record["data"] if lost in record["data"] else record
    needed = holder.pop(lost, None) is not None
    try:
        decode_record(json.dumps(record).encode())
    except ValueError:
        assert needed
    else:
        assert not needed


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff", b'{"specversion":"1.0"', b"null"])
def test_what_is_no_record_is_an_error(damaged: bytes) -> None:
    with pytest.raises(ValueError):
        decode_record(damaged)
