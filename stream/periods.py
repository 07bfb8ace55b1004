"""The months of the closings: each from the cut-off of the month before to its own.

In: the settings `closing_day` and `first_period`. Out: which period a day lies in. Called by `stream.contribution`,
`stream.closing` and the report.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from stream.value import Value

BEFORE: Final = -1
"""The index of all days up to the opening of the first period."""

CLOSING_DAY: Final = 28
MONTH: Final = re.compile(r"(?P<year>19[0-9]{2}|2[01][0-9]{2})-(?P<month>0[1-9]|1[0-2])", re.ASCII)
"""How a period is written: YYYY-MM, of 1900 to 2199."""

_LAST_DAY: Final = date.max.toordinal()


class Period(Value, frozen=True):
    """(opened_on, closed_on] as ordinals: the opening is the figure of the end of `opened_on`; named YYYY-MM by its end."""

    index: int
    name: str
    opened_on: int
    closed_on: int


class Periods(Value, frozen=True):
    """All periods from `first` on, counted from 0. first: the months since the year 0, as `month_of` gives them."""

    first: int
    closing_day: int = CLOSING_DAY

    @classmethod
    def since(cls, name: str, closing_day: int = CLOSING_DAY) -> Periods:
        """Those from the one called `name` on; ValueError for what is no period or no day that every month has."""
        if not 1 <= closing_day <= CLOSING_DAY:
            raise ValueError("a closing day is one that every month has, 1 to 28")
        return cls(month_of(name), closing_day)

    @property
    def begins(self) -> int:
        """The first day of the first period."""
        return _cut_off(self.first - 1, self.closing_day) + 1

    def index(self, day: int) -> int:
        """The period of a day, BEFORE for all days up to the opening of the first."""
        return max(_ending(day, self.closing_day) - self.first, BEFORE)

    def period(self, index: int) -> Period:
        """The period of an index; that of BEFORE is the month that ends with the opening of the first."""
        year, month = divmod(self.first + index, 12)
        opened_on, closed_on = (_cut_off(self.first + number, self.closing_day) for number in (index - 1, index))
        return Period(index, f"{year:04}-{month + 1:02}", opened_on, closed_on)

    def last_ended(self, day: int) -> int:
        """The index of the last period that is over at the end of a day; BEFORE while none of them is."""
        index = self.index(day)
        return index if index == BEFORE or self.period(index).closed_on == day else index - 1

    def index_of(self, name: str) -> int:
        """The index of the period called `name`, which is negative before the first; ValueError for what is no period."""
        return month_of(name) - self.first


def month_of(name: str) -> int:
    """The months since the year 0 of a period written YYYY-MM; ValueError for anything else."""
    match = MONTH.fullmatch(name)
    if match is None:
        raise ValueError("a period is a month written YYYY-MM, from 1900-01 to 2199-12")
    return int(match["year"]) * 12 + int(match["month"]) - 1


@lru_cache(maxsize=1_000)
def _cut_off(months: int, closing_day: int) -> int:
    year, month = divmod(months, 12)
    return date(year, month + 1, closing_day).toordinal()


@lru_cache(maxsize=100_000)
def _ending(day: int, closing_day: int) -> int:
    """The month in which the period of a day ends. Days beyond the calendar count as its last."""
    on = date.fromordinal(min(max(day, 1), _LAST_DAY))
    return on.year * 12 + on.month - 1 + (on.day > closing_day)
