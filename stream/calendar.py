"""Days and instants: ordinals, microseconds, RFC 3339 texts, the three zones of Indonesia, the 17th birthday.

In: texts of events and records, and the numbers of `stream.events`. Out: each in the other's form. Called throughout
the core. Zones are fixed offsets by province (docs/decisions/0002, reading 4); there is no clock here.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final, Literal

MICROSECONDS_PER_SECOND: Final = 1_000_000
MICROSECONDS_PER_DAY: Final = 86_400 * MICROSECONDS_PER_SECOND

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
INSTANT_MIN: Final = (date(1900, 1, 1).toordinal() - EPOCH_ORDINAL) * MICROSECONDS_PER_DAY
INSTANT_MAX: Final = (date(2201, 1, 1).toordinal() - EPOCH_ORDINAL) * MICROSECONDS_PER_DAY - 1
"""Instants outside 1900–2200 (UTC) are refused."""

WIB_HOURS: Final = 7
WITA_HOURS: Final = 8
WIT_HOURS: Final = 9

ZONE_HOURS: Final = {
    **dict.fromkeys(("51", "52", "53", "63", "64", "65", "71", "72", "73", "74", "75", "76"), WITA_HOURS),
    **dict.fromkeys(("81", "82", "91", "92", "93", "94", "95", "96"), WIT_HOURS),
}
"""Hours east of UTC of the provinces outside WIB. WITA: Bali, Nusa Tenggara, south, east and north Kalimantan,
Sulawesi; WIT: Maluku and Papua. Sumatra, Java, west and central Kalimantan, and what is not known, are WIB."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FRACTION: Final = re.compile(r"\.[0-9]+", re.ASCII)
_LEAP_CYCLE_DAYS: Final = 146_097
"""Days in the 400 years after which the calendar repeats."""

_BORN_MAX: Final = date(9982, 12, 31).toordinal()
"""Who is born later turns 17 after the last day of `date`."""

_CLOCKS: Final = tuple(f"T{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60))
_SECOND_TEXTS: Final = tuple(f"{second:02}" for second in range(60))
_MINUTES: Final = {
    spelling[:-1]: minute * 60 * MICROSECONDS_PER_SECOND
    for minute, clock in enumerate(_CLOCKS)
    for spelling in (clock, clock.lower())
}
_SECONDS: Final = {f":{text}": second * MICROSECONDS_PER_SECOND for second, text in enumerate(_SECOND_TEXTS)}
_OFFSETS: Final = {
    "Z": 0,
    "z": 0,
    **{f"+{clock[1:6]}": _MINUTES[clock[:6]] for clock in _CLOCKS},
    **{f"-{clock[1:6]}": -_MINUTES[clock[:6]] for clock in _CLOCKS},
}
_ENDINGS: Final = {
    second + offset: _SECONDS[second] - _OFFSETS[offset]
    for second in _SECONDS
    for offset in ("Z", f"+0{WIB_HOURS}:00", f"+0{WITA_HOURS}:00", f"+0{WIT_HOURS}:00")
}
"""Microseconds of `:00+07:00`: the seconds and the offsets of the country, without fractions."""
# Tables, because parsing an instant by datetime costs three times as much, on the path of every event.


@lru_cache(maxsize=100_000)
def ordinal(text: str) -> int:
    """The ordinal of a day written YYYY-MM-DD; ValueError for anything else."""
    if not _DAY.fullmatch(text):
        raise ValueError("not a day written YYYY-MM-DD")
    return date.fromisoformat(text).toordinal()


@lru_cache(maxsize=100_000)
def iso_day(day: int) -> str:
    """The day as YYYY-MM-DD."""
    return date.fromordinal(day).isoformat()


@lru_cache(maxsize=100_000)
def _midnight(text: str) -> int:
    """The instant at which the day begins in UTC."""
    return (ordinal(text) - EPOCH_ORDINAL) * MICROSECONDS_PER_DAY


def parse_instant(text: str) -> int:
    """The instant of an RFC 3339 text with an offset, digits beyond the microsecond cut off; else ValueError."""
    try:
        ending = text[16:]
        seconds = _ENDINGS.get(ending)
        if seconds is None:
            seconds = _ending(ending)
        instant = _midnight(text[:10]) + _MINUTES[text[10:16]] + seconds
    except (LookupError, ValueError) as error:
        raise ValueError("not an RFC 3339 instant with an offset") from error
    if not INSTANT_MIN <= instant <= INSTANT_MAX:
        raise ValueError("not an instant of the years 1900 to 2200")
    return instant


def _ending(text: str) -> int:
    """The microseconds of `:00.123456+07:00`, or of any other offset."""
    offset = _OFFSETS.get(text[3:])
    if offset is not None:
        return _SECONDS[text[:3]] - offset
    digits, offset = text[4:10], _OFFSETS.get(text[10:])
    if offset is None or text[3] != "." or not (digits.isdigit() and digits.isascii()):  # not as format_instant writes
        fraction = _FRACTION.match(text, 3)
        if fraction is None:
            raise ValueError("no fraction and no offset")
        digits, offset = fraction[0][1:7].ljust(6, "0"), _OFFSETS[text[fraction.end() :]]
    return _SECONDS[text[:3]] + int(digits) - offset


@lru_cache(maxsize=10_000)
def format_instant(instant: int) -> str:
    """The instant in UTC, `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`."""
    days, within = divmod(instant, MICROSECONDS_PER_DAY)
    seconds, microseconds = divmod(within, MICROSECONDS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    whole = iso_day(days + EPOCH_ORDINAL) + _CLOCKS[minutes] + _SECOND_TEXTS[second]
    return f"{whole}.{microseconds:06}Z" if microseconds else whole + "Z"


def zone_hours(region: str | None) -> int:
    """Hours east of UTC of a region code, by its province; WIB where there is none or it is not known."""
    return WIB_HOURS if region is None else ZONE_HOURS.get(region[:2], WIB_HOURS)


def day_of(instant: int, region: str | None) -> int:
    """The day of an instant in the zone of a region."""
    local = instant + zone_hours(region) * 3600 * MICROSECONDS_PER_SECOND
    return local // MICROSECONDS_PER_DAY + EPOCH_ORDINAL


def end_of_day(day: int, region: str | None) -> int:
    """The instant of the midnight that ends a day in the zone of a region: the first one that is no longer in it."""
    return (day + 1 - EPOCH_ORDINAL) * MICROSECONDS_PER_DAY - zone_hours(region) * 3600 * MICROSECONDS_PER_SECOND


@lru_cache(maxsize=100_000)
def birthday_17(born: int, leap_birthday: Literal["mar1", "feb28"]) -> int:
    """The day on which someone born on day `born` turns 17; leap_birthday says when those of 29 February do."""
    if born > _BORN_MAX:
        # The calendar repeats, and counting in an earlier cycle keeps year 9999 + 17 inside what `date` can hold.
        return birthday_17(born - _LEAP_CYCLE_DAYS, leap_birthday) + _LEAP_CYCLE_DAYS
    birth = date.fromordinal(born)
    if (birth.month, birth.day) == (2, 29):  # no year is a leap year 17 years after a leap year
        month, day = (3, 1) if leap_birthday == "mar1" else (2, 28)
        return date(birth.year + 17, month, day).toordinal()
    return birth.replace(year=birth.year + 17).toordinal()
