"""Events for the tests of the second count: written as an office sends them, turned into ledger records.

The accepted form (subject instead of NIK, time in UTC, defaults left out) is that of docs/decisions/0002.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

KEY = b"a key for tests only, of 32 bytes"

P, Q = "1605020101800001", "1605020101800002"
A, B, C = "16.05.02.2001", "16.05.02.2002", "15.03.01.2001"
S, S2 = "16.09.01.1013", "16.09.02.2001"
TRANSIT, NOWHERE = "ID-transit", "nowhere"
REFERENCE = (
    "15", "16", "91", "15.03", "16.05", "16.09", "15.03.01", "16.05.02", "16.09.01", "16.09.02", A, B, C, S, S2,
)  # fmt: skip


def subject_of(nik: str) -> str:
    return hmac.new(KEY, nik.encode(), hashlib.sha256).hexdigest()[:32]


def ledger_record(event: Json) -> tuple[str | None, bytes]:
    """The accepted form of an event (docs/decisions/0002)."""
    data = {key: value for key, value in event["data"].items() if value is not None and value is not False}
    if data.get("status") == "captured":
        del data["status"]
    if event["data"].get("citizen") is False:
        data["citizen"] = False
    subject = subject_of(data.pop("nik")) if "nik" in data else None
    if "new_nik" in data:
        data["new_subject"] = subject_of(data.pop("new_nik"))
    time = datetime.fromisoformat(event["time"]).astimezone(UTC)
    text = time.strftime("%Y-%m-%dT%H:%M:%S") + (f".{time.microsecond:06}" if time.microsecond else "") + "Z"
    record = event | {"time": text, "data": data, "receivedat": "2026-01-01T00:00:00Z"}
    return subject, json.dumps(record | ({"subject": subject} if subject else {})).encode()


def event(kind: str, nik: str | None, on: str, label: str, reported: str | None = None, **data: Any) -> Json:
    """One event; `reported` is the day (10:00 WIB) or instant of registration, the day it happened by default."""
    time = reported or on
    return {
        "specversion": "1.0", "id": label, "source": "/siak/1605", "type": f"lampit.{kind}.v1",
        "time": time if "T" in time else f"{time}T10:00:00+07:00",
        "data": ({"nik": nik} if nik else {}) | {"occurred_on": on} | data,
    }  # fmt: skip


def register(nik: str, on: str, label: str, region: str = A, born: str = "1990-01-01", **more: Any) -> Json:
    person = {"birth_date": born, "sex": "F"} | more.pop("person", {})
    return event("register", nik, on, label, region=region, person=person, **more)


def cancel(nik: str, on: str, label: str, target: str, source: str = "/siak/1605") -> Json:
    return event("cancellation", nik, on, label, cancels={"source": source, "id": target})


def balance(region: str, on: str, label: str = "B", **more: Any) -> Json:
    reported = more.pop("reported", None)
    schedule = {"turning_17": more.pop("turning_17")} if "turning_17" in more else {}
    return event("opening_balance", None, on, label, reported, region=region, counts=more, **schedule)
