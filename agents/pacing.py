"""How much a fetch waits for at the broker: nothing where little comes, a whole batch where much does.

In: how many records each poll brought. Out: a consumer whose next fetches ask for as much. Called by the driver's thread.

What follows a fetch is paid for each of them: a batch of the store, a transaction, the roll-up's part in it. On a machine that
is nearly full, fetches that take whatever is there bring a handful of records each, and the processor time for them is what
everybody waits for.
"""

from __future__ import annotations

from typing import Any, Final

BUSY_RECORDS_PER_SECOND: Final = 2_000
"""From here on: below, no batch would come together in the time that a fetch may wait."""

BUSY_BYTES: Final = 128 * 1024
BUSY_WAIT_MILLISECONDS: Final = 50
"""`fetch.min.bytes` and `fetch.max.wait.ms` then, whichever comes first."""

WINDOW_SECONDS: Final = 0.25


class Pace:
    """Of one consumer. aiokafka has both as settings of its constructor only; its fetcher reads them for every request."""

    def __init__(self, wait_milliseconds: int, now: float) -> None:
        """As for a consumer that nothing has come to. wait_milliseconds: how long a fetch may stay empty then."""
        self._wait_milliseconds = wait_milliseconds
        self._since = now
        self._records = 0

    def polled(self, fetcher: Any, records: int, now: float) -> None:
        """A poll brought so many records; of all that came in the last window the next fetches are set."""
        self._records += records
        seconds = now - self._since
        if seconds < WINDOW_SECONDS:
            return
        is_busy = self._records >= BUSY_RECORDS_PER_SECOND * seconds
        fetcher._fetch_min_bytes = BUSY_BYTES if is_busy else 1
        fetcher._fetch_max_wait_ms = BUSY_WAIT_MILLISECONDS if is_busy else self._wait_milliseconds
        self._since, self._records = now, 0
