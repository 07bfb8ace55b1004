"""Values of the ledger taken apart into columns, and put together again, whole columns at a time.

In: Arrow arrays of keys and values. Out: Arrow arrays. Called by agents/segments.py only. Everything is a function of the
array as a whole: a segment is always handed over in one piece.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_INSTANT: Final = pa.timestamp("us")
"""In UTC, without saying so: then nobody's session shows it in another zone."""

DERIVED: Final = (
    pa.field("type", pa.string()),
    pa.field("source", pa.string()),
    pa.field("id", pa.string()),
    pa.field("time", _INSTANT),
    pa.field("occurred_on", pa.date32()),
    pa.field("region", pa.string()),
    pa.field("receivedat", _INSTANT),
)

# What a value is made of: the texts of `_FRAME`, between them the columns of `_FILLED`, then region and rest.
_FILLED: Final = ("id", "source", "type", "time", "subject", "receivedat", "occurred_on")
_FRAME: Final = (
    '{"specversion":"1.0","id":"',
    '","source":"',
    '","type":"',
    '","time":"',
    '","subject":"',
    '","receivedat":"',
    '","data":{"occurred_on":"',
)
_REGION: Final = ',"region":"'
# Cut at every quotation mark, the fillings of the frame are at these places, and the tail follows.
_PLACES: Final = (7, 11, 15, 19, 23, 27, 33)
_TAIL: Final = 34
_INSTANT_FORM: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
_DAY_FORM: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

Array = Any
Columns = dict[str, Array]


class _Data(msgspec.Struct, gc=False):
    occurred_on: str | None = None
    region: str | None = None


class _Record(msgspec.Struct, gc=False):
    """What queries go by, of a record that is kept whole."""

    type: str | None = None
    source: str | None = None
    id: str | None = None
    time: str | None = None
    receivedat: str | None = None
    data: _Data = msgspec.field(default_factory=_Data)


_read: Final = msgspec.json.Decoder(_Record).decode


def take_apart(key: Array, value: Array) -> Columns:
    """Every column of a segment but offset and timestamp_ms."""
    try:
        texts, keys = value.cast(pa.string()), key.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8, so nothing of the ledger's: kept whole
        return _whole_records(key, value)
    pieces = pc.split_pattern(texts, '"', max_splits=_TAIL)
    has_form = pc.fill_null(pc.equal(pc.list_value_length(pieces), _TAIL + 1), False)
    rows = pc.indices_nonzero(has_form)
    split = pieces.take(rows)
    found = {name: pc.list_element(split, place) for name, place in zip(_FILLED, _PLACES, strict=True)}
    found["time"], found["receivedat"] = _instants(found["time"]), _instants(found["receivedat"])
    found["occurred_on"] = _days(found["occurred_on"])
    found |= _region_and_rest(pc.list_element(split, _TAIL))
    # Whatever the pieces are: only what gives the same bytes again is kept in pieces.
    same = pc.and_(pc.equal(_values(found), texts.take(rows)), pc.equal(found["subject"], keys.take(rows)))
    same = pc.fill_null(same, False)
    if pc.all(same).as_py() and len(rows) == len(value):
        nothing = pa.nulls(len(value), pa.binary())
        return {**found, "raw_key": nothing, "raw_value": nothing}
    return _mixed(key, value, found, rows, same)


def _mixed(key: Array, value: Array, found: Columns, rows: Array, same: Array) -> Columns:
    """Rows taken apart where that is exact, the others whole, in the order of the segment."""
    apart = rows.filter(same)
    is_apart = pc.is_in(pa.array(range(len(value)), pa.uint64()), value_set=apart.cast(pa.uint64()))
    kept = pc.indices_nonzero(pc.invert(is_apart))
    whole = _whole_records(key.take(kept), value.take(kept))
    pieces = {name: column.filter(same) for name, column in found.items()}
    pieces["raw_key"] = pieces["raw_value"] = pa.nulls(len(apart), pa.binary())
    order = pc.sort_indices(pa.concat_arrays([apart.cast(pa.uint64()), kept.cast(pa.uint64())]))
    return {name: pa.concat_arrays([pieces[name], whole[name]]).take(order) for name in whole}


def _whole_records(key: Array, value: Array) -> Columns:
    """Records kept as they are, with the columns for queries as far as they can be read."""
    read = [_readable(raw) for raw in value.to_pylist()]
    found: Columns = {
        name: pa.array([getattr(one, name) for one in read], pa.string()) for name in ("type", "source", "id")
    }
    for name in ("time", "receivedat"):
        found[name] = _instants(pa.array([getattr(one, name) for one in read], pa.string()))
    found["occurred_on"] = _days(pa.array([one.data.occurred_on for one in read], pa.string()))
    found["region"] = pa.array([one.data.region for one in read], pa.string())
    found["subject"] = pa.nulls(len(value), pa.string())
    found["rest"] = pa.nulls(len(value), pa.string())
    found["raw_key"], found["raw_value"] = key, value
    return found


def _readable(raw: bytes | None) -> _Record:
    try:
        return _read(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Record()


def put_together(columns: Columns) -> tuple[Array, Array]:
    """The keys and values of a segment's rows."""
    key = pc.coalesce(columns["raw_key"], columns["subject"].cast(pa.binary()))
    return key, pc.coalesce(columns["raw_value"], _values(columns).cast(pa.binary()))


def _values(columns: Columns) -> Array:
    """The texts of values taken apart; null where one of their columns is."""
    parts: list[Any] = []
    for text, name in zip(_FRAME, _FILLED, strict=True):
        column = columns[name]
        parts += [pa.scalar(text), _text(column) if column.type in (_INSTANT, pa.date32()) else column]
    region = pc.binary_join_element_wise(pa.scalar(_REGION), columns["region"], pa.scalar('"'), "")
    parts += [pa.scalar('"'), pc.fill_null(region, ""), columns["rest"]]
    return pc.binary_join_element_wise(*parts, "")


def _region_and_rest(tail: Array) -> Columns:
    """`,"region":"R"REST` in its two parts; without a region all of it is the rest."""
    begins = pc.starts_with(tail, _REGION)
    cut = pc.split_pattern(pc.utf8_slice_codeunits(tail.filter(begins), len(_REGION)), '"', max_splits=1)
    nothing = pa.scalar(None, pa.string())
    region = pc.replace_with_mask(pa.nulls(len(tail), pa.string()), begins, _element(cut, 0))
    rest = pc.replace_with_mask(tail, begins, _element(cut, 1))
    return {"region": pc.if_else(begins, region, nothing), "rest": rest}


def _element(lists: Array, place: int) -> Array:
    """The element of each list, empty where a list is too short: the text then does not come out the same, and is kept."""
    short = pc.list_value_length(lists)
    if len(lists) and pc.min(short).as_py() <= place:
        return pa.array([row[place] if len(row) > place else "" for row in lists.to_pylist()], pa.string())
    return pc.list_element(lists, place)


def _instants(texts: Array) -> Array:
    """Instants written as the ledger writes them; null for any other text."""
    return _parsed(texts, _INSTANT_FORM, pa.timestamp("us", "UTC")).cast(_INSTANT)


def _days(texts: Array) -> Array:
    return _parsed(texts, _DAY_FORM, pa.date32())


def _parsed(texts: Array, form: str, kind: Any) -> Array:
    good = pc.if_else(pc.match_substring_regex(texts, form), texts, pa.scalar(None, pa.string()))
    try:
        return good.cast(kind)
    except pa.ArrowInvalid:  # a 31 February among them
        return pa.array([_one(text, kind) for text in good.to_pylist()], kind)


def _one(text: str | None, kind: Any) -> Any:
    try:
        return pa.scalar(text, pa.string()).cast(kind).as_py()
    except pa.ArrowInvalid:
        return None


def _text(column: Array) -> Array:
    """A day or an instant as the ledger writes it."""
    if column.type == pa.date32():
        return column.cast(pa.string())
    micros = column.cast(pa.int64())
    whole = pc.equal(pc.subtract(micros, pc.multiply(pc.divide(micros, 1_000_000), 1_000_000)), 0)
    seconds = pc.floor_temporal(column, unit="second").cast(pa.timestamp("s")).cast(pa.string())
    text = pc.if_else(whole, seconds, column.cast(pa.string()))
    return pc.binary_join_element_wise(pc.binary_replace_slice(text, 10, 11, "T"), pa.scalar("Z"), "")


def integers(column: Array) -> bytes:
    """Integers as 8 bytes little-endian each."""
    whole = pa.concat_arrays([column.cast(pa.int64())])
    size = 8
    return (
        whole.buffers()[1].to_pybytes()[whole.offset * size : (whole.offset + len(whole)) * size] if len(whole) else b""
    )


def lengths(column: Array) -> bytes:
    """The lengths of texts, −1 for null, as 8 bytes little-endian each."""
    return integers(pc.fill_null(pc.binary_length(column).cast(pa.int64()), -1))


def joined(column: Array) -> Any:
    """All texts, one behind the other, without copying them."""
    if not len(column):
        return b""
    _, offsets, data = column.buffers()
    starts = memoryview(offsets).cast("i")
    first, last = starts[column.offset], starts[column.offset + len(column)]
    return memoryview(data)[first:last] if data is not None else b""
