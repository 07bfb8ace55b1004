"""Events of the common types: ordinary ones as a Hypothesis strategy, and the same with something odd in them."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from tests.wire import DATA, NIK, good_events

COMMON: Final = ("register", "birth", "death", "move_out", "move_in", "recording")
UUID: Final = "01957c2e-7d5c-7aaa-9e0e-3f6f0c6f1c11"

ODD_TIMES: Final = [
    "2019-03-05t09:12:00z",
    "2019-03-05 09:12:00Z",
    "2019-03-05T09:12Z",
    "2019-03-05T09:12:00",
    "2019-03-05T24:00:00Z",
    "2019-03-05T09:60:00Z",
    "2019-03-05T23:59:60Z",
    "2019-02-29T00:00:00Z",
    "2019-03-05T09:12:00.Z",
    "2019-03-05T09:12:00.1Z",
    "2019-03-05T09:12:00.123Z",
    "2019-03-05T09:12:00.123456+07:00",
    "2019-03-05T09:12:00.1234567+07:00",
    "2019-03-05T09:12:00.9999999999-09:30",
    "2019-03-05T09:12:00,5Z",
    "2019-03-05T09:12:00+0700",
    "2019-03-05T09:12:00+07",
    "2019-03-05T09:12:00+24:00",
    "2019-03-05T09:12:00+23:59",
    "2019-03-05T09:12:00-00:00",
    "2019-03-05T09:12:00Z\n",
    " 2019-03-05T09:12:00Z",
    "1900-01-01T00:00:00Z",
    "1900-01-01T00:00:00+00:01",
    "1899-12-31T23:59:59-00:01",
    "2200-12-31T23:59:59.9999999Z",
    "2200-12-31T23:59:59-00:01",
    "2201-01-01T00:00:00+07:00",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "+2019-03-05T09:12:00Z",
]
ODD_DAYS: Final = [
    "2019-02-29",
    "2020-02-29",
    "2019-3-5",
    "20190305",
    "2019-W10-2",
    "2019-03-05T00:00:00",
    "0000-01-01",
]
ODD_DAYS_TOO: Final = [
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "-2019-03-05",
    "2019-03-05 ",
    "٢٠١٩-03-05",
    "1551744000",
]
ODD_NIKS: Final = [
    "0" * 16,
    "0" * 15 + "1",
    NIK[1:],
    NIK + "0",
    f" {NIK[1:]}",
    f"+{NIK[1:]}",
    f"{NIK[:14]}_1",
    "٣" * 16,
]
ODD_PLACES: Final = [
    "16",
    "16.05",
    "16.05.02",
    "16.05.02.2001\n",
    "16.5.2.1",
    "16.05.02.201",
    "1605022001",
    "ID",
    "abroad",
]
ODD_TEXTS: Final = [
    "",
    "a,b",
    "é",
    "a\x7fb",
    "a\x85b",
    "a\tb",
    "a\\b",
    'a"b',
    "null",
    "\ud800",
    "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}" * 16,
    NIK[:15],
    NIK,
    f"{NIK[:15]}-{NIK[:15]}",
    f"{UUID}-1605",
    f"{UUID[:24]}{NIK}",
    f"{UUID[:24]}{NIK[:12]}",
    f"{UUID[:24]}{NIK[:12]}3456",
    "x" * 128,
    "x" * 129,
    "x" * 256,
    "x" * 257,
    "é" * 128,
]
ODD_VALUES: Final = [
    None,
    True,
    False,
    0,
    1,
    -0.0,
    1e400,
    "true",
    "M",
    "m",
    "L",
    "captured",
    "CAPTURED",
    [],
    {},
    [NIK],
    {"x": 1},
]
PERSONS: Final = [
    {},
    {"sex": None},
    {"sex": "F", "name": "Siti"},
    {"birth_date": "1990-01-01", "permanent_permit": None},
    {"birth_date": "1990-01-01", "permanent_permit": {"from": "2019-01-01", "until": "2018-01-01"}},
    {"birth_date": "2019-03-02", "sex": "F", "citizen": False},
    {"ever_married_on": "2010-01-01", "recorded_on": None, "citizen": True},
]
ODD: Final = [*ODD_TIMES, *ODD_DAYS, *ODD_DAYS_TOO, *ODD_NIKS, *ODD_PLACES, *ODD_TEXTS, *ODD_VALUES, *PERSONS]

NAMES: Final = sorted(
    {
        "datacontenttype",
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "data",
        "person",
        "in_opening",
        "stillborn",
        "already_registered",
    }
    | {"birth_date", "sex", "ever_married_on", "recorded_on", "citizen", "permanent_permit", "name", "x", ""}
    | {name for kind in COMMON for name in DATA[kind]}
)
BYTES: Final = [
    b",",
    b'"',
    b":",
    b"{",
    b"}",
    b"\\",
    b"\x00",
    b"\x7f",
    b" ",
    b"\n",
    b"0",
    b"9",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
]
PIECES: Final = [
    *BYTES,
    b"null",
    b'"x":1,',
    b'"nik":null,',
    b'"person":{},',
    b'"sex":"M",',
    b"/**/",
    b"\\u0031",
    b"T",
    b"z",
    b"-",
]

_ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


@st.composite
def common_events(draw: st.DrawFn) -> dict[str, Any]:
    """A good event of one of the six types, mostly of plain letters: others do not come far on the quick path."""
    sent = draw(good_events(st.sampled_from(COMMON)))
    if draw(st.integers(0, 7)):
        sent["id"], sent["source"] = draw(st.just(UUID) | _ASCII), draw(st.just("/siak/1605") | _ASCII)
        if sent["data"].get("letter"):
            sent["data"]["letter"] = draw(_ASCII)
    if not draw(st.integers(0, 3)):
        sent["datacontenttype"] = "application/json"
    return sent


def objects_of(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """The event and the objects in it."""
    return [sent, *(inner for value in sent.values() if isinstance(value, dict) for inner in objects_of(value))]


def written_oddly(sent: dict[str, Any], random: Random) -> bytes:
    """The event in one of the ways to write it, mostly with something wrong in fields, in names or in bytes."""
    sent = deepcopy(sent)
    for _ in range(random.choice([0, 0, 1, 1, 2])):
        place = random.choice(objects_of(sent))
        name = random.choice([*place, *NAMES])
        if random.random() < 0.6:
            place[name] = deepcopy(random.choice(ODD))
        else:
            place.pop(name, None)
    if random.random() < 0.5:
        sent = dict(random.sample(list(sent.items()), len(sent)))
    separators = random.choice([None, (",", ":"), (" , ", " : ")])
    text = json.dumps(sent, ensure_ascii=random.random() < 0.5, separators=separators)
    members = [match.start() for match in re.finditer(r'"[a-z_]*" ?:', text)]
    if members and random.random() < 0.3:
        at = random.choice(members)
        name = random.choice([text[at : text.index(":", at)], f'"{random.choice(NAMES)}"'])
        text = f"{text[:at]}{name}:{json.dumps(random.choice(ODD))},{text[at:]}"
    payload = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(random.choice([0, 0, 0, 1, 1, 2])):
        at = random.randint(0, len(payload))
        payload[at : at + random.randint(0, 2)] = random.choice([*PIECES, random.randbytes(1)])
    return bytes(payload)
