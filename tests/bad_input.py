"""Inputs that are to be refused, and what is to be said of each: a table, for every test that needs bad input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from schemas.rejection import Reason
from tests.wire import NIK, OTHER_NIK, raw


@dataclass(frozen=True)
class Bad:
    """One bad input and what is to be said of it."""

    name: str
    payload: bytes | None
    reason: Reason
    pointer: str = ""


def _text(kind: str, old: str, new: str) -> bytes:
    payload = raw(kind).decode()
    assert old in payload
    return payload.replace(old, new).encode()


def _person(kind: str, **person: Any) -> bytes:
    return raw(kind, person=person)


REGISTER: Final = raw("register")
ARABIC_ONE: Final = "\u0661"
ITAP_BACKWARDS: Final = {"from": "2019-01-02", "until": "2019-01-01"}

UNREADABLE: Final = [
    Bad("tombstone", None, Reason.TOMBSTONE),
    Bad("empty", b"", Reason.NOT_JSON),
    Bad("5 MB", b'{"nik":"' + b"1605024203190001" * 320_000 + b'"}', Reason.TOO_LARGE),
    Bad("one byte too many", REGISTER + b" " * (65_537 - len(REGISTER)), Reason.TOO_LARGE),
    Bad("invalid UTF-8", REGISTER.replace(b"/siak", b"/\xff\xfe"), Reason.NOT_UTF8),
    Bad("UTF-16", REGISTER.decode().encode("utf-16-le"), Reason.NOT_JSON),
    Bad("byte order mark", b"\xef\xbb\xbf" + REGISTER, Reason.NOT_JSON),
    Bad("not JSON", b"NIK 1605024203190001", Reason.NOT_JSON),
    Bad("cut off", REGISTER[:-1], Reason.NOT_JSON),
    Bad("two values", REGISTER + REGISTER, Reason.NOT_JSON),
    Bad("NaN", _text("register", '"nik": ', '"x": NaN, "nik": '), Reason.NOT_JSON),
    Bad("number of 5,000 digits", _text("register", '"nik": ', f'"x": {"9" * 5_000}, "nik": '), Reason.NOT_JSON),
    Bad("nested deeply", _text("register", '"nik": ', f'"x": {"[" * 9_000}{"]" * 9_000}, "nik": '), Reason.NOT_JSON),
    Bad("nested deeply, and nothing else", b"[" * 60_000, Reason.NOT_JSON),
    Bad("half a surrogate pair", _text("register", "/siak", "\\ud800"), Reason.NOT_JSON),
    Bad("half a pair in an unknown field", _text("register", '"nik": ', '"x": "\\udc00", "nik": '), Reason.NOT_JSON),
    Bad("nik twice", _text("register", '"nik": ', f'"nik": "{OTHER_NIK}", "nik": '), Reason.NOT_JSON),
    Bad("id twice", _text("register", '"id": ', '"id": "a", "id": '), Reason.NOT_JSON),
    Bad("sex twice", _text("register", '"sex": ', '"sex": "M", "sex": '), Reason.NOT_JSON),
    Bad("name twice by escape", _text("register", '"sex": ', '"s\\u0065x": "M", "sex": '), Reason.NOT_JSON),
    Bad("unknown name twice", _text("register", '"sex": ', '"x": 1, "x": 2, "sex": '), Reason.NOT_JSON),
    Bad("list", b"[" + REGISTER + b"]", Reason.NOT_OBJECT),
    Bad("text", b'"1605024203190001"', Reason.NOT_OBJECT),
    Bad("null", b"null", Reason.NOT_OBJECT),
]

ENVELOPE: Final = [
    Bad("no specversion", json.dumps({"type": "x"}).encode(), Reason.MISSING_FIELD, "/specversion"),
    Bad("specversion 0.3", raw("death", {"specversion": "0.3"}), Reason.WRONG_SPECVERSION, "/specversion"),
    Bad("specversion a number", raw("death", {"specversion": 1.0}), Reason.WRONG_SPECVERSION, "/specversion"),
    Bad("no type", _text("death", '"type"', '"kind"'), Reason.MISSING_FIELD, "/type"),
    Bad("type a NIK", raw("death", {"type": NIK}), Reason.UNKNOWN_TYPE, "/type"),
    Bad("type a number", raw("death", {"type": int(NIK)}), Reason.MALFORMED_FIELD, "/type"),
    Bad("unknown type", raw("death", {"type": "lampit.divorce.v1"}), Reason.UNKNOWN_TYPE, "/type"),
    Bad("no version", raw("death", {"type": "lampit.death"}), Reason.UNKNOWN_TYPE, "/type"),
    Bad(
        "unknown type, nested more deeply than Python calls",
        b'{"specversion": "1.0", "type": "x", "data": ' + b'{"data": ' * 600 + b"1" + b"}" * 601,
        Reason.UNKNOWN_TYPE,
        "/type",
    ),
    Bad(
        "unknown type, lists nested more deeply than Python calls",
        b'{"specversion": "1.0", "type": "x", "turning_17": ' + b"[" * 600 + b"]" * 600 + b"}",
        Reason.UNKNOWN_TYPE,
        "/type",
    ),
    Bad("control record", raw("death", {"type": "lampit.day.v1"}), Reason.UNKNOWN_TYPE, "/type"),
    Bad("unknown version", raw("death", {"type": "lampit.birth.v2"}), Reason.UNKNOWN_VERSION, "/type"),
    Bad("no id", _text("death", '"id"', '"ID"'), Reason.MISSING_FIELD, "/id"),
    Bad("no source", _text("death", '"source"', '"sender"'), Reason.MISSING_FIELD, "/source"),
    Bad("no time", _text("death", '"time"', '"at"'), Reason.MISSING_FIELD, "/time"),
    Bad("no data", _text("death", '"data"', '"dat"'), Reason.MISSING_FIELD, "/data"),
    Bad("data a list", raw("death", {"data": [NIK]}), Reason.MALFORMED_FIELD, "/data"),
    Bad("empty id", raw("death", {"id": ""}), Reason.MALFORMED_FIELD, "/id"),
    Bad("id a number", raw("death", {"id": int(NIK)}), Reason.MALFORMED_FIELD, "/id"),
    Bad("long id", raw("death", {"id": "x" * 129}), Reason.MALFORMED_FIELD, "/id"),
    Bad("long source", raw("death", {"source": "x" * 257}), Reason.MALFORMED_FIELD, "/source"),
    Bad("control character", raw("death", {"id": "a\tb"}), Reason.MALFORMED_FIELD, "/id"),
    Bad("C1 control character", raw("death", {"id": "a\x85b"}), Reason.MALFORMED_FIELD, "/id"),
    Bad("16 digits in id", raw("death", {"id": f"a{NIK}b"}), Reason.HIDDEN_NIK, "/id"),
    Bad("20 digits in id", raw("death", {"id": NIK + "0000"}), Reason.HIDDEN_NIK, "/id"),
    Bad("16 digits in id, written as escapes", _text("death", "01957c2e", "\\u0031" * 16), Reason.HIDDEN_NIK, "/id"),
    Bad("16 digits in source", raw("death", {"source": f"/siak/{NIK}"}), Reason.HIDDEN_NIK, "/source"),
    Bad("16 Arabic digits in source", raw("death", {"source": ARABIC_ONE * 16}), Reason.HIDDEN_NIK, "/source"),
    *(
        Bad(f"time {time!r}", raw("death", {"time": time}), Reason.MALFORMED_TIME, "/time")
        for time in (
            "2019-03-05T09:12:00",
            "2019-03-05 09:12:00+07:00",
            "2019-03-05T09:12+07:00",
            "2019-03-05T24:00:00Z",
            "2019-03-05T23:59:60Z",
            "2019-02-29T09:12:00Z",
            "2019-03-05T09:12:00+24:00",
            "2019-03-05T09:12:00+0700",
            "2019-03-05T09:12:00.+07:00",
            "2019-03-05T09:12:00Z ",
            "2019-03-05T09:12:00Z\n",
            "1899-12-31T23:59:59Z",
            "1900-01-01T00:00:00+07:00",
            "2201-01-01T00:00:00Z",
            "٢٠١٩-03-05T09:12:00Z",
            NIK,
            "",
            None,
            1551751920,
        )
    ),
]

FIELDS: Final = [
    Bad("no nik", raw("death", nik=...), Reason.MISSING_FIELD, "/data/nik"),
    Bad("no nik on a live birth", raw("birth", nik=...), Reason.MISSING_FIELD, "/data/nik"),
    *(
        Bad(f"nik {nik!r}", raw("death", nik=nik), Reason.MALFORMED_NIK, "/data/nik")
        for nik in (
            int(NIK),
            "0",
            NIK[1:],
            f"{NIK}0",
            NIK[:15] + "x",
            "0" * 16,
            ARABIC_ONE * 16,
            f" {NIK}",
            f"{NIK}\n",
            None,
            [NIK],
        )
    ),
    Bad("new_nik all zeros", raw("nik_change", new_nik="0" * 16), Reason.MALFORMED_NIK, "/data/new_nik"),
    Bad("no new_nik", raw("nik_change", new_nik=...), Reason.MISSING_FIELD, "/data/new_nik"),
    Bad("no occurred_on", raw("death", occurred_on=...), Reason.MISSING_FIELD, "/data/occurred_on"),
    *(
        Bad(f"date {day!r}", raw("death", occurred_on=day), Reason.MALFORMED_DATE, "/data/occurred_on")
        for day in (
            "2019-02-30",
            "2019-2-3",
            "03-02-2019",
            "20190302",
            "2019-03-02T00:00:00",
            "0000-01-01",
            NIK,
            20190302,
            None,
        )
    ),
    Bad(
        "impossible birth date",
        _person("register", birth_date="2019-02-29"),
        Reason.MALFORMED_DATE,
        "/data/person/birth_date",
    ),
    Bad("no birth date", _person("register", sex="F"), Reason.MISSING_FIELD, "/data/person/birth_date"),
    Bad("no person", raw("register", person=...), Reason.MISSING_FIELD, "/data/person"),
    Bad("person a text", raw("death", person="Siti"), Reason.MALFORMED_FIELD, "/data/person"),
    Bad("no region", raw("death", region=...), Reason.MISSING_FIELD, "/data/region"),
    *(
        Bad(f"region {region!r}", raw("death", region=region), Reason.MALFORMED_REGION, "/data/region")
        for region in (
            "16.05.02",
            "1605022001",
            "16.05.02.200",
            "16.05.02.2001 ",
            "ID",
            "",
            NIK,
            1605022001,
            16.05,
            None,
        )
    ),
    Bad("destination nowhere", raw("move_out", destination="Jakarta"), Reason.MALFORMED_REGION, "/data/destination"),
    Bad("origin in transit", raw("move_in", origin="ID-transit"), Reason.MALFORMED_REGION, "/data/origin"),
    Bad(
        "service point a number", raw("recording", service_point=16.05), Reason.MALFORMED_REGION, "/data/service_point"
    ),
    Bad("unknown status", raw("recording", status="lost"), Reason.MALFORMED_FIELD, "/data/status"),
    Bad("sex L", raw("birth", sex="L"), Reason.MALFORMED_FIELD, "/data/sex"),
    Bad("no sex", raw("birth", sex=...), Reason.MISSING_FIELD, "/data/sex"),
    Bad("flag a text", raw("birth", stillborn="false"), Reason.MALFORMED_FIELD, "/data/stillborn"),
    Bad("flag a number", raw("register", in_opening=0), Reason.MALFORMED_FIELD, "/data/in_opening"),
    Bad("long letter", raw("move_out", letter="x" * 129), Reason.MALFORMED_FIELD, "/data/letter"),
    Bad("16 digits in letter", raw("move_out", letter=f"KK {NIK}"), Reason.HIDDEN_NIK, "/data/letter"),
    Bad("no citizen", raw("residence_permit", citizen=...), Reason.MISSING_FIELD, "/data/citizen"),
    Bad(
        "permit without from",
        raw("residence_permit", permanent_permit={}),
        Reason.MISSING_FIELD,
        "/data/permanent_permit/from",
    ),
    Bad("no cancels", raw("cancellation", cancels=...), Reason.MISSING_FIELD, "/data/cancels"),
    Bad(
        "16 digits cancelled",
        raw("cancellation", cancels={"source": "s", "id": NIK}),
        Reason.HIDDEN_NIK,
        "/data/cancels/id",
    ),
    Bad("no counts", raw("opening_balance", counts=...), Reason.MISSING_FIELD, "/data/counts"),
    Bad(
        "count a text", raw("opening_balance", counts={"obliged": "5"}), Reason.MALFORMED_FIELD, "/data/counts/obliged"
    ),
    Bad("count true", raw("opening_balance", counts={"obliged": True}), Reason.MALFORMED_FIELD, "/data/counts/obliged"),
    Bad("count 5.0", raw("opening_balance", counts={"obliged": 5.0}), Reason.MALFORMED_FIELD, "/data/counts/obliged"),
    Bad(
        "count a NIK",
        raw("opening_balance", counts={"obliged": int(NIK)}),
        Reason.MALFORMED_FIELD,
        "/data/counts/obliged",
    ),
    Bad(
        "no women", raw("opening_balance", counts={"obliged": {"M": 1}}), Reason.MISSING_FIELD, "/data/counts/obliged/F"
    ),
    Bad(
        "schedule of no day",
        raw("opening_balance", turning_17=[{"on": "2019-03-01", "count": 1}, {"on": "2019-03-32", "count": 1}]),
        Reason.MALFORMED_DATE,
        "/data/turning_17/1/on",
    ),
]

AGAINST_ITSELF: Final = [
    Bad("birth after its time", raw("birth", occurred_on="2019-03-06"), Reason.BIRTH_AFTER_TIME, "/data/occurred_on"),
    Bad(
        "birth date of a birth",
        _person("birth", birth_date="2019-03-01"),
        Reason.CONTRADICTORY,
        "/data/person/birth_date",
    ),
    Bad("sex of a birth", _person("birth", sex="M"), Reason.CONTRADICTORY, "/data/person/sex"),
    Bad(
        "stillborn and already registered",
        raw("birth", stillborn=True, already_registered=True),
        Reason.CONTRADICTORY,
        "/data/already_registered",
    ),
    Bad(
        "permit backwards",
        raw("residence_permit", permanent_permit=ITAP_BACKWARDS),
        Reason.CONTRADICTORY,
        "/data/permanent_permit/until",
    ),
    Bad(
        "permit of the person backwards",
        _person("death", permanent_permit=ITAP_BACKWARDS),
        Reason.CONTRADICTORY,
        "/data/person/permanent_permit/until",
    ),
    Bad("nik to itself", raw("nik_change", new_nik=NIK), Reason.CONTRADICTORY, "/data/new_nik"),
    Bad("corrects nothing", raw("correction", birth_date=...), Reason.CONTRADICTORY, "/data"),
    Bad("corrects null", raw("correction", birth_date=None, sex=None), Reason.CONTRADICTORY, "/data"),
    Bad(
        "registered unborn",
        _person("register", birth_date="2019-03-03"),
        Reason.CONTRADICTORY,
        "/data/person/birth_date",
    ),
    Bad("negative count", raw("opening_balance", counts={"obliged": -1}), Reason.CONTRADICTORY, "/data/counts/obliged"),
    Bad(
        "negative count of women",
        raw("opening_balance", counts={"obliged": {"M": 1, "F": -1}}),
        Reason.CONTRADICTORY,
        "/data/counts/obliged/F",
    ),
]

ALL: Final = (*UNREADABLE, *ENVELOPE, *FIELDS, *AGAINST_ITSELF)
