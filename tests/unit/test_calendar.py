"""Days, instants, zones and 17th birthdays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calendar import (
    INSTANT_MAX,
    INSTANT_MIN,
    ZONE_HOURS,
    birthday_17,
    day_of,
    end_of_day,
    format_instant,
    iso_day,
    ordinal,
    parse_instant,
    zone_hours,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(2200, 12, 30))  # noqa: DTZ001 - zones below
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.dates())
def test_days_there_and_back(day: date) -> None:
    assert ordinal(day.isoformat()) == day.toordinal()
    assert iso_day(day.toordinal()) == day.isoformat()


@pytest.mark.parametrize(
    "text", ["", "2019-02-29", "2019-2-28", "20190228", "2019-W09-4", "2019-02-28 ", "٢٠١٩-02-28", "0000-01-01"]
)
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ordinal(text)


@given(MOMENTS, ZONES)
def test_instants_as_the_standard_library_reads_them(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=zone)
    assert parse_instant(aware.isoformat()) == (aware - EPOCH) // timedelta(microseconds=1)


@given(st.integers(INSTANT_MIN, INSTANT_MAX))
def test_instants_there_and_back(instant: int) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == instant
    assert datetime.fromisoformat(text) == EPOCH + timedelta(microseconds=instant)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("00.1Z", 100_000), ("00.123456789Z", 123_456), ("00.9999999+00:00", 999_999), ("00z", 0), ("00-00:00", 0)],
)
def test_digits_beyond_the_microsecond_are_cut_off(text: str, microseconds: int) -> None:
    assert parse_instant(f"1970-01-01t00:00:{text}") == microseconds


@given(st.text(alphabet="0123456789-:.+TtZz ", max_size=40) | st.text(max_size=40))
def test_any_other_text_is_a_value_error(text: str) -> None:
    try:
        parse_instant(text)
    except ValueError:
        return
    assert datetime.fromisoformat(text.upper()).tzinfo is not None


def test_zones() -> None:
    """Every province, as in the IANA database: Asia/Jakarta, Asia/Pontianak, Asia/Makassar, Asia/Jayapura."""
    wib = ["11", "12", "13", "14", "15", "16", "17", "18", "19", "21", "31", "32", "33", "34", "35", "36", "61", "62"]
    wita = ["51", "52", "53", "63", "64", "65", "71", "72", "73", "74", "75", "76"]
    wit = ["81", "82", "91", "92", "93", "94", "95", "96"]
    assert len(wib + wita + wit) == 38
    assert {zone_hours(f"{province}.01") for province in wib} == {7}
    assert {zone_hours(f"{province}.01.01.2001") for province in wita} == {8}
    assert {zone_hours(province) for province in wit} == {9}
    assert set(ZONE_HOURS) == {*wita, *wit}
    assert zone_hours(None) == zone_hours("ID") == zone_hours("99") == 7


@given(st.integers(INSTANT_MIN, INSTANT_MAX), st.sampled_from([None, "16.05", "64.72", "91.01"]))
def test_an_instant_lies_in_its_day(instant: int, region: str | None) -> None:
    day = day_of(instant, region)
    assert end_of_day(day - 1, region) <= instant < end_of_day(day, region)


@pytest.mark.parametrize(
    ("born", "mar1", "feb28"),
    [
        ("2002-03-28", "2019-03-28", "2019-03-28"),
        ("2008-02-29", "2025-03-01", "2025-02-28"),
        ("2008-02-28", "2025-02-28", "2025-02-28"),
        ("2008-03-01", "2025-03-01", "2025-03-01"),
        ("1983-02-28", "2000-02-28", "2000-02-28"),
    ],
)
def test_17th_birthdays(born: str, mar1: str, feb28: str) -> None:
    assert iso_day(birthday_17(ordinal(born), "mar1")) == mar1
    assert iso_day(birthday_17(ordinal(born), "feb28")) == feb28


@given(st.dates(max_value=date(9982, 12, 31)))
def test_a_17th_birthday_is_the_same_day_17_years_on(born: date) -> None:
    turned = date.fromordinal(birthday_17(born.toordinal(), "mar1"))
    assert turned.year == born.year + 17
    assert (turned.month, turned.day) == ((3, 1) if (born.month, born.day) == (2, 29) else (born.month, born.day))


def test_a_birthday_after_the_last_year_of_the_calendar_is_a_number_all_the_same() -> None:
    assert birthday_17(date.max.toordinal(), "mar1") == date.max.toordinal() + 17 * 365 + 5
