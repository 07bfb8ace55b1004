"""How much a fetch waits for at the broker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.pacing import (
    BUSY_BYTES,
    BUSY_RECORDS_PER_SECOND,
    BUSY_WAIT_MILLISECONDS,
    WINDOW_SECONDS,
    Pace,
)

AT_ONCE = (1, 20)
BUSY = (BUSY_BYTES, BUSY_WAIT_MILLISECONDS)
IN_A_WINDOW = int(BUSY_RECORDS_PER_SECOND * WINDOW_SECONDS)


@pytest.mark.parametrize(("in_a_window", "wanted"), [(0, AT_ONCE), (IN_A_WINDOW - 1, AT_ONCE), (IN_A_WINDOW, BUSY)])
def test_fetches_wait_for_more_only_where_much_comes(in_a_window: int, wanted: tuple[int, int]) -> None:
    fetcher = SimpleNamespace(_fetch_min_bytes=1, _fetch_max_wait_ms=20)
    pace = Pace(20, now=100.0)
    for window in range(1, 10):
        pace.polled(fetcher, in_a_window, 100.0 + window * WINDOW_SECONDS)
    assert (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms) == wanted


def test_within_a_window_nothing_is_decided_and_afterwards_it_begins_anew() -> None:
    fetcher = SimpleNamespace(_fetch_min_bytes=1, _fetch_max_wait_ms=20)
    pace = Pace(20, now=0.0)
    pace.polled(fetcher, 100_000, WINDOW_SECONDS / 2)
    assert (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms) == AT_ONCE
    pace.polled(fetcher, 0, WINDOW_SECONDS)
    assert (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms) == BUSY
    pace.polled(fetcher, 0, 2 * WINDOW_SECONDS)
    assert (fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms) == AT_ONCE
