"""Segments: any records there and back byte for byte, and a digest of what they are, not of how they are kept."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents import segments
from stream.admission import Admitted, admit
from stream.ledger import encode_record, record_key
from tests.archives import LogRecord, ledger
from tests.wire import PSEUDONYMISE, good_events

INSTANTS = st.integers(-2_208_988_800_000_000, 7_289_567_999_999_999)
Row = tuple[bytes | None, bytes | None]


def table(rows: list[Row]) -> Any:
    records = [LogRecord(number * 2, 1_000 + number, key, value) for number, (key, value) in enumerate(rows)]
    return segments.concatenated([segments.records_table(records)])


@st.composite
def accepted(draw: st.DrawFn) -> Row:
    """A record of an accepted event, under its key."""
    admitted = admit(json.dumps(draw(good_events())).encode(), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    forwarded = draw(st.none() | st.just("0" * 32)) if admitted.subject else None
    value = encode_record(admitted.subject, admitted.event, draw(INSTANTS), forwarded)
    return record_key(admitted.subject, admitted.event), value


@st.composite
def damaged(draw: st.DrawFn) -> Row:
    """A record of an event with something in it changed."""
    key, value = draw(accepted())
    assert value is not None
    begin, end = sorted([draw(st.integers(0, len(value))), draw(st.integers(0, len(value)))])
    value = value[:begin] + draw(st.sampled_from([b"", b'"', b"\\", b"2019-02-31", b"x", b"\xff"])) + value[end:]
    return draw(st.sampled_from([key, None, b"", b"\xff"])), value


ANY = st.tuples(st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=40))


@given(st.lists(st.one_of(accepted(), damaged(), ANY), max_size=6))
def test_records_come_back_byte_for_byte(rows: list[Row]) -> None:
    before = table(rows)
    after = segments.decode(segments.encode(before))
    assert after.equals(before)
    assert segments.content_digest(after) == segments.content_digest(before)


@given(st.lists(accepted(), min_size=1, max_size=4), st.data())
def test_the_digest_tells_any_two_contents_apart(rows: list[Row], data: st.DataObject) -> None:
    changed = list(rows)
    place = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["drop", "repeat", "reorder", "change", "move a byte from key to value"])):
        case "drop":
            del changed[place]
        case "repeat":
            changed.insert(place, changed[place])
        case "reorder":
            changed.reverse()
        case "change":
            changed[place] = (changed[place][0], b"{}")
        case _:
            key, value = changed[place]
            changed[place] = ((key or b"")[:-1], (key or b"")[-1:] + (value or b""))
    assert (segments.content_digest(table(changed)) == segments.content_digest(table(rows))) == (changed == rows)


def test_the_digest_is_what_its_docstring_says() -> None:
    rows: list[Row] = [(b"ab", b"c"), (None, b""), (b"", None)]
    whole = [3, 0, 2, 4, 1_000, 1_001, 1_002, 2, -1, 0, b"ab", 1, 0, -1, b"c"]
    parts = [part if isinstance(part, bytes) else part.to_bytes(8, "little", signed=True) for part in whole]
    assert segments.content_digest(table(rows)) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_events_of_a_ledger_are_taken_apart_and_take_few_bytes() -> None:
    """A record kept whole takes twice the room: none of an ordinary event may be."""
    log = ledger(20_000, 1, 1)[0]
    whole = segments.concatenated([segments.records_table(log)])
    content = segments.encode(whole)
    import io

    import pyarrow.parquet as pq

    kept = pq.read_table(io.BytesIO(content), columns=["type", "raw_value"]).to_pylist()
    assert {row["type"] for row in kept if row["raw_value"] is not None} == {
        "lampit.genesis.v1",
        "lampit.epoch.v1",
        "lampit.day.v1",
    }
    assert len(content) / len(log) < 60
