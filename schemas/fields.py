"""The scalar fields every record is made of: what a well-formed id, day, instant, NIK and region code looks like.

In: nothing. Out: annotated types for the models of this package. Checks that need two fields, or a region's zone, are
not here but in `stream.admission`.

`DIGIT_RUN` is the law's part (UU 27/2022): a run of 16 digits in free text may be a NIK, so the free texts that are
kept (id, source, letter) are written as "never sixteen digits in a row" in their pattern.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

COUNT_MAX: Final = 10_000_000_000
"""No count of people is larger; keeps sums far inside 64 bits and numbers exact in every JSON reader."""

DIGIT_RUN: Final = r"\d{16,}"
"""What may be a NIK inside a text, in any script's digits."""

_FREE_TEXT: Final = r"^(?:\d{0,15}[^\d\u0000-\u001f\u007f-\u009f])*\d{0,15}$"
_DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_INSTANT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
CODE: Final = r"[0-9]{2}(?:\.[0-9]{2}(?:\.[0-9]{2}(?:\.[0-9]{4})?)?)?"


class _DayText:
    """A date written `YYYY-MM-DD` and nothing else: no numbers, no other spelling."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the form first, then the calendar; a date made in Python is taken as it is."""
        text = core_schema.chain_schema([core_schema.str_schema(pattern=_DAY), core_schema.date_schema(strict=False)])
        made = core_schema.date_schema(strict=True)
        return core_schema.json_or_python_schema(text, core_schema.union_schema([made, text]))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The form, as JSON Schema says it."""
        return {"type": "string", "format": "date", "pattern": _DAY}


Day = Annotated[date, _DayText()]
"""A day of the Gregorian calendar, `YYYY-MM-DD`, without a zone: the day it was where it happened."""

Instant = Annotated[str, Field(pattern=_INSTANT, json_schema_extra={"format": "date-time"})]
"""A moment in RFC 3339 with its offset; kept to the microsecond. `stream.calendar` reads it and refuses what is no
moment between 1900 and 2200 (the 30th of February, a leap second)."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_FREE_TEXT)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_FREE_TEXT)]
Letter = Annotated[str, StringConstraints(max_length=128, pattern=_FREE_TEXT)]

Nik = Annotated[str, StringConstraints(min_length=16, max_length=16, pattern=r"^0*[1-9][0-9]*$")]
"""NIK: exactly 16 ASCII digits, not all zeros, as a string. Nothing is derived from it."""

Subject = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Person id: the first 16 bytes of HMAC-SHA256(secret key, NIK), in hexadecimal."""

Village = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.[0-9]{2}\.[0-9]{2}\.[0-9]{4}$")]
"""Kemendagri code of a desa or kelurahan, `PP.KK.CC.VVVV`."""

RegionCode = Annotated[str, StringConstraints(pattern=rf"^{CODE}$")]
"""Kemendagri code at any level: province, regency, district or village."""

BalanceRegion = Annotated[str, StringConstraints(pattern=rf"^(?:ID|{CODE})$")]
"""Kemendagri code at any level, or `ID` for the country."""

Elsewhere = Annotated[str, StringConstraints(pattern=rf"^(?:abroad|{CODE})$")]
"""The other end of a move: a code at any level, or `abroad`."""

PlaceOut = Annotated[str, StringConstraints(pattern=rf"^(?:ID|ID-transit|{CODE})$")]
"""A region of the published figures: a code, `ID`, or `ID-transit` (left one home, not yet arrived in another)."""

Column = Annotated[str, StringConstraints(pattern=rf"^(?:ID|ID-transit|{CODE}(?:~\d{{4}}-\d{{2}}-\d{{2}})?)$")]
"""A place: its code, or `CODE~DAY` for a later place of a code that several had, with the day it began."""

PeriodName = Annotated[str, StringConstraints(pattern=r"^(?:19|2[01])[0-9]{2}-(?:0[1-9]|1[0-2])$")]
"""A closing period by the month in which it ends, `YYYY-MM`."""

Sex = Literal["M", "F"]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
"""A number of people."""

Measure = Literal["population", "obliged", "recorded", "recorded_early", "print_ready", "issued"]


class Schema(BaseModel):
    """A record that is read: no conversions between types; fields it does not know are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, use_attribute_docstrings=True)


class Output(BaseModel):
    """A record that is written: it has these fields and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)
