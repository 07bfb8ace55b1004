"""Why an input was refused, said without anything personal: reason, message, pointer, masked payload.

In: a payload, and what `stream.admission` or pydantic found wrong with it. Out: `Refusal` values, of which intake
makes records of `lampit.rejected`. Nothing here is on the path of an accepted event. Messages are made of field names
of the schema only, never of values: what was sent where a date should be may well be a NIK.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic import ValidationError

from schemas.events import SPECVERSION, TYPES
from schemas.fields import DIGIT_RUN
from schemas.rejection import Reason
from stream.pseudonym import Pseudonymise, payload_digest
from stream.strict_json import Unreadable, read
from stream.value import Value


class Refusal(Value, frozen=True):
    """A refused input; the fields are those of `schemas.rejection.RejectionRecord`."""

    reason: Reason
    message: str
    pointer: str
    payload: str | None
    length: int
    digest: str


class Fault(Value, frozen=True):
    """What is wrong, and where."""

    reason: Reason
    pointer: str
    message: str


_DIGIT_RUN: Final = re.compile(DIGIT_RUN)
_DIGITS_MASKED: Final = "[16 or more digits]"

_REASON_BY_FIELD: Final = {
    "nik": Reason.MALFORMED_NIK,
    "new_nik": Reason.MALFORMED_NIK,
    "time": Reason.MALFORMED_TIME,
    **dict.fromkeys(
        ("occurred_on", "birth_date", "ever_married_on", "recorded_on", "from", "until", "on"), Reason.MALFORMED_DATE
    ),
    **dict.fromkeys(("region", "destination", "origin", "service_point"), Reason.MALFORMED_REGION),
}

_EXPECTED: Final = {
    Reason.MALFORMED_NIK: "must be a string of exactly 16 digits, not all zeros",
    Reason.MALFORMED_TIME: "must be an RFC 3339 date and time with an offset, of the years 1900 to 2200",
    Reason.MALFORMED_DATE: "must be a day of the calendar written YYYY-MM-DD",
    Reason.MALFORMED_REGION: "must be a Kemendagri code of the level that is asked for, as a string",
    Reason.MALFORMED_FIELD: "has a wrong type, length or value",
    Reason.MISSING_FIELD: "is required and absent",
    Reason.HIDDEN_NIK: "holds 16 digits in a row, which may be a NIK",
    Reason.CONTRADICTORY: "must not be negative",
}

_FREE_TEXTS: Final = frozenset(("id", "source", "letter"))
_UNION_TAGS: Final = frozenset(("total", "by_sex"))
"""Parts of a pydantic location that are not in the payload; no field has such a name."""

_DATE_KEPT: Final = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}", re.ASCII)
_PLACE_KEPT: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,4}){0,3}|[0-9]{1,10}|ID|ID-transit|abroad", re.ASCII)
_TEXT_KEPT: Final = {
    "specversion": re.compile(r"[0-9.]{1,8}", re.ASCII),
    "type": re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII),
    "time": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9Zz:.,+-]{0,30}", re.ASCII),
    "status": re.compile(r"[a-z_]{1,16}", re.ASCII),
    "sex": re.compile(r"[A-Za-z]", re.ASCII),
    "id": re.compile(r".{0,128}", re.DOTALL),
    "source": re.compile(r".{0,256}", re.DOTALL),
    **{
        name: _DATE_KEPT if reason is Reason.MALFORMED_DATE else _PLACE_KEPT
        for name, reason in _REASON_BY_FIELD.items()
        if reason in (Reason.MALFORMED_DATE, Reason.MALFORMED_REGION)
    },
}
"""Field → the texts that are kept of it in a masked payload. `nik`, `letter` and unknown fields are not among them."""

_FLAGS_KEPT: Final = frozenset(("in_opening", "stillborn", "already_registered", "citizen"))
_MEASURES: Final = frozenset(("population", "obliged", "recorded", "recorded_early", "print_ready", "issued"))
_COUNTS_KEPT: Final = _MEASURES | {"M", "F", "count"}
_COUNT_KEPT_MAX: Final = 10**15 - 1
_OBJECTS: Final = frozenset(
    ("data", "person", "permanent_permit", "cancels", "counts", "turning_17", "count", *_MEASURES)
)
_MEMBERS_KEPT: Final = 40
_DEPTH_KEPT: Final = 8
"""No event nests deeper than five. JSON can, until Python has no frames left to mask it with: that would end the process."""

_NAME_KEPT: Final = re.compile(r"(?!.*[0-9]{6})[A-Za-z_][A-Za-z0-9_-]{0,39}", re.ASCII)
OTHER_NAME: Final = "(other)"
_VERSIONED_TYPE: Final = re.compile(r"(lampit\.[a-z_]+)\.v[0-9]+", re.ASCII)


def shown_name(name: str) -> str:
    """A field name that may be shown: one that looks like a name, else OTHER_NAME (it may hold anything)."""
    return name if _NAME_KEPT.fullmatch(name) else OTHER_NAME


def fault_at(reason: Reason, pointer: str) -> Fault:
    """A fault of one field, with the usual message."""
    return Fault(reason, pointer, f"{pointer[1:].replace('/', '.')} {_EXPECTED[reason]}")


def refuse_unread(raw: bytes, reason: Reason, message: str, pseudonymise: Pseudonymise) -> Refusal:
    """The refusal of a payload that is not parsed: only its length and keyed digest are kept."""
    return Refusal(reason, message, "", None, len(raw), payload_digest(pseudonymise, raw))


def refuse(raw: bytes, fault: Fault, pseudonymise: Pseudonymise) -> Refusal:
    """The refusal of a payload with one fault."""
    value = read(raw)
    if isinstance(value, Unreadable):
        return refuse_unread(raw, value.reason, value.message, pseudonymise)
    masked = json.dumps(_masked("", value), ensure_ascii=False)
    return Refusal(
        fault.reason,
        fault.message,
        fault.pointer,
        _DIGIT_RUN.sub(_DIGITS_MASKED, masked),
        len(raw),
        payload_digest(pseudonymise, raw),
    )


def diagnose(raw: bytes, error: ValidationError, pseudonymise: Pseudonymise) -> Refusal:
    """The refusal of a payload that the schema does not accept."""
    value = read(raw)
    if isinstance(value, Unreadable):
        return refuse_unread(raw, value.reason, value.message, pseudonymise)
    if not isinstance(value, dict):
        return refuse_unread(raw, Reason.NOT_OBJECT, "the payload is not a JSON object", pseudonymise)
    fault = _fault_of_envelope(value)
    if fault is None:
        details = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if details["type"] == "json_invalid":
            return refuse_unread(raw, Reason.NOT_JSON, "the payload is nested too deeply", pseudonymise)
        fault = _fault_of_field(value, details["type"], details["loc"])
    return refuse(raw, fault, pseudonymise)


def _fault_of_envelope(event: dict[str, Any]) -> Fault | None:
    """Whether it says to be an event of ours, in a version that is known."""
    for name in ("specversion", "type"):
        if name not in event:
            return fault_at(Reason.MISSING_FIELD, f"/{name}")
    if event["specversion"] != SPECVERSION:
        return Fault(Reason.WRONG_SPECVERSION, "/specversion", f'specversion must be "{SPECVERSION}"')
    kind = event["type"]
    if not isinstance(kind, str):
        return fault_at(Reason.MALFORMED_FIELD, "/type")
    if kind in TYPES:
        return None
    versioned = _VERSIONED_TYPE.fullmatch(kind)
    if versioned and f"{versioned[1]}.v1" in TYPES:
        return Fault(Reason.UNKNOWN_VERSION, "/type", "type names a version of the event other than v1")
    return Fault(Reason.UNKNOWN_TYPE, "/type", "type names no event of Lampit")


def _fault_of_field(event: dict[str, Any], error_type: str, location: tuple[int | str, ...]) -> Fault:
    """What pydantic found; location: the tag of the union, then names and indexes of the payload."""
    path = [part for part in location[1:] if part not in _UNION_TAGS]
    pointer = "".join(f"/{part}" for part in path)
    if error_type == "missing":
        return fault_at(Reason.MISSING_FIELD, pointer)
    if error_type == "greater_than_equal":
        return fault_at(Reason.CONTRADICTORY, pointer)
    field = next((part for part in reversed(path) if isinstance(part, str)), "")
    if field in _FREE_TEXTS:
        value: Any = event
        for part in path:
            value = value[part]
        hidden = isinstance(value, str) and _DIGIT_RUN.search(value)
        return fault_at(Reason.HIDDEN_NIK if hidden else Reason.MALFORMED_FIELD, pointer)
    return fault_at(_REASON_BY_FIELD.get(field, Reason.MALFORMED_FIELD), pointer)


def _masked(name: str, value: Any, depth: int = 0) -> Any:
    """What is kept of the value of a field: what is harmless by its form, and what kind of thing the rest was."""
    kept: Any = f"<{type(value).__name__}>"
    if value is None:
        kept = None
    elif isinstance(value, bool):
        kept = value if name in _FLAGS_KEPT else "<boolean>"
    elif isinstance(value, int):
        kept = value if name in _COUNTS_KEPT and abs(value) <= _COUNT_KEPT_MAX else "<number>"
    elif isinstance(value, float):
        kept = "<number>"
    elif isinstance(value, str):
        masked = _DIGIT_RUN.sub(_DIGITS_MASKED, value)
        pattern = _TEXT_KEPT.get(name)
        kept = masked if pattern and pattern.fullmatch(masked) else "<text>"
    elif isinstance(value, list):
        is_kept = name == "turning_17" and depth < _DEPTH_KEPT
        kept = [_masked(name, member, depth + 1) for member in value[:_MEMBERS_KEPT]] if is_kept else "<list>"
    elif (not name or name in _OBJECTS) and depth < _DEPTH_KEPT:
        members = list(value.items())[:_MEMBERS_KEPT]
        kept = {shown_name(member): _masked(member, inner, depth + 1) for member, inner in members}
    else:
        kept = "<object>"
    return kept
