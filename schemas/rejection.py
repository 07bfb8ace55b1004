"""The record of `lampit.rejected`: one input that was refused, and why, without any personal data.

In: `stream.admission` finds the reason. Out: `schemas/json/rejected.json`; also the rejects of `lampit count`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from schemas.fields import Instant, Output


class Reason(StrEnum):
    """Why an input was refused; also the label `reason` of lampit_events_total."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    WRONG_SPECVERSION = "wrong_specversion"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    MISSING_FIELD = "missing_field"
    MALFORMED_TIME = "malformed_time"
    MALFORMED_NIK = "malformed_nik"
    MALFORMED_DATE = "malformed_date"
    MALFORMED_REGION = "malformed_region"
    MALFORMED_FIELD = "malformed_field"
    BIRTH_AFTER_TIME = "birth_after_time"
    CONTRADICTORY = "contradictory"
    HIDDEN_NIK = "hidden_nik"
    UNKNOWN_CODEC = "unknown_codec"


EXPLANATIONS: Final[dict[Reason, str]] = {
    Reason.TOMBSTONE: "The Kafka record has no value.",
    Reason.TOO_LARGE: "The payload is longer than 64 KiB.",
    Reason.NOT_UTF8: "The payload is not UTF-8.",
    Reason.NOT_JSON: "The payload is not JSON as RFC 7493 has it: a name twice in one object, NaN, a byte order mark, "
    "half a surrogate pair, a number of thousands of digits and nesting without end are refused too.",
    Reason.NOT_OBJECT: "The payload is JSON, but not an object.",
    Reason.WRONG_SPECVERSION: 'specversion is not "1.0".',
    Reason.UNKNOWN_TYPE: "type names no event of Lampit.",
    Reason.UNKNOWN_VERSION: "type names an event of Lampit in a version other than v1.",
    Reason.MISSING_FIELD: "A required field is absent.",
    Reason.MALFORMED_TIME: "time is not RFC 3339 with an offset, of the years 1900 to 2200.",
    Reason.MALFORMED_NIK: "A NIK is not a string of exactly 16 digits, or is all zeros.",
    Reason.MALFORMED_DATE: "A date is not YYYY-MM-DD or not in the calendar.",
    Reason.MALFORMED_REGION: "A region is not a code of the level that is asked for, as a string.",
    Reason.MALFORMED_FIELD: "Another field has a wrong type, length or value.",
    Reason.BIRTH_AFTER_TIME: "A birth is dated after the day it was registered, in the zone of its region.",
    Reason.CONTRADICTORY: "Two fields of the event exclude each other, or a count is negative.",
    Reason.HIDDEN_NIK: "id, source or letter holds 16 digits in a row, which may be a NIK.",
    Reason.UNKNOWN_CODEC: "The Kafka record batch is damaged, compressed in a way that cannot be read, or unpacks to more than "
    "128 MiB: one rejection for each of its records, and beyond 100,000 one for the rest.",
}
"""One sentence a reason, for the documentation and the page."""


class Origin(Output):
    """Where the input was."""

    topic: str
    """Kafka topic."""
    partition: int
    """Its partition."""
    offset: int
    """Offset in the partition."""


class RejectionRecord(Output):
    """A refused input. The record's key is topic|partition|offset."""

    reason: Reason
    """Code of the reason."""
    message: str
    """The reason in a sentence; never repeats a value of the input."""
    pointer: str
    """JSON pointer (RFC 6901) to the field at fault; empty: the whole input."""
    origin: Origin
    """Where the input was."""
    time: Instant
    """When it was refused, in UTC."""
    payload: str | None
    """The input as JSON with everything personal masked; null when it could not be parsed."""
    length: int
    """Length of the input in bytes."""
    digest: str
    """Keyed digest of the input (32 hexadecimal digits), to recognise the same input again; empty for a tombstone."""
