"""The metrics of the agents, by prometheus-client; names and units are those of design.md.

In: what the agents saw. Out: series in the default registry, served at /metrics by `agents.health`. No NIK, name or person id
is ever a label. The gauges of regions are not here but in `agents.figures`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from agents.driver import Fetch
from stream.admission import Admitted
from stream.archive import Entry
from stream.calendar import EPOCH_ORDINAL, MICROSECONDS_PER_SECOND, day_of
from stream.events import OpeningBalance, Placed
from stream.refusal import Refusal

DELAY_DAYS_BOUNDS: Final = (0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 1825)
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)

EVENTS = Counter("lampit_events", "Records taken in, by type, outcome and reason.", ("type", "outcome", "reason"))
UNKNOWN_FIELDS = Counter("lampit_unknown_fields", "Fields of input that no schema names, dropped.", ("field",))
DELAY_SECONDS = Histogram(
    "lampit_event_delay_seconds", "Seconds from intake to the store of the ledger worker.", buckets=_SECONDS
)
COUNTED = Counter("lampit_events_counted", "Accepted events applied by this ledger worker.", ("partition",))
LAG = Gauge("lampit_lag_records", "Committed records not yet applied.", ("topic", "partition"))
LAG_SECONDS = Gauge(
    "lampit_lag_seconds", "Age of the last applied record while behind, else 0.", ("topic", "partition")
)
POSITION = Gauge("lampit_position", "Next offset to apply.", ("topic", "partition"))
BUSINESS_DAY = Gauge("lampit_business_day_timestamp_seconds", "00:00 UTC of the business day reached.", ("partition",))
BATCH = Histogram("lampit_batch_duration_seconds", "Time of a batch, by stage.", ("stage",), buckets=_SECONDS)
RECOVERY = Gauge(
    "lampit_recovery_progress_ratio", "Part of the log applied that was there at the takeover.", ("partition",)
)
ARCHIVED = Counter("lampit_archived_records", "Records written into archive segments.", ("topic", "partition"))
ARCHIVED_BYTES = Counter("lampit_archived_bytes", "Bytes of archive segments written.", ("topic", "partition"))
SEGMENTS = Counter("lampit_archive_segments", "Archive segments written.", ("topic", "partition"))
ARCHIVE_POSITION = Gauge(
    "lampit_archive_position", "Next offset to archive: all before it is safe.", ("topic", "partition")
)
SNAPSHOTS = Counter(
    "lampit_snapshots", "Snapshots of stores, by outcome: written, failed; at a takeover used, refused.", ("outcome",)
)
SNAPSHOT_TIME = Gauge(
    "lampit_snapshot_timestamp_seconds",
    "When the newest snapshot of a partition was made, or last found to hold everything.",
    ("partition",),
)
SNAPSHOT_POSITION = Gauge("lampit_snapshot_position", "Next offset of the newest snapshot.", ("partition",))
STANDBY_LAG = Gauge("lampit_standby_lag_records", "Committed records not yet applied to a warm copy.", ("partition",))
ARCHIVE_TREE = Gauge(
    "lampit_archive_tree_position",
    "Next offset for the Merkle tree: all before it is signed.",
    ("topic", "partition"),
)
CLOSINGS = Counter("lampit_closings", "Closings of months published, first ones and revisions.", ("kind",))
BUILD_INFO = Gauge("lampit_build_info", "Version of this process.", ("version",))


class DelayDays(Collector):
    """A histogram by type that nearly every event goes into: one of the client's own takes as long as half the admission."""

    def __init__(self) -> None:
        """Nothing observed yet."""
        self._numbers: dict[str, list[int]] = {}
        self._sums: Counts[str] = Counts()

    def observe(self, kind: str, days: int) -> None:
        """One event of a type."""
        numbers = self._numbers.get(kind)
        if numbers is None:
            numbers = self._numbers[kind] = [0] * (len(DELAY_DAYS_BOUNDS) + 1)
        numbers[bisect_left(DELAY_DAYS_BOUNDS, days)] += 1
        self._sums[kind] += days

    def collect(self) -> Iterator[Metric]:
        """The series."""
        name, text = "lampit_event_delay_days", "Days from what happened to its registration."
        family = HistogramMetricFamily(name, text, labels=("type",))
        bounds = [*map(floatToGoString, DELAY_DAYS_BOUNDS), "+Inf"]
        for kind, numbers in self._numbers.items():
            buckets = list(zip(bounds, map(float, accumulate(numbers)), strict=True))
            family.add_metric((kind,), buckets, self._sums[kind])
        yield family


DELAY_DAYS = DelayDays()
REGISTRY.register(DELAY_DAYS)

UNKNOWN_NAMES_MAX: Final = 100
"""A producer can invent names without end; a label must not follow."""

_unknown_names: set[str] = set()


def build_info() -> None:
    """Say which version runs."""
    BUILD_INFO.labels(version("lampit")).set(1)


def admitted(accepted: Iterable[Admitted]) -> None:
    """Intake accepted the events of a fetch."""
    types: Counts[str] = Counts()
    for one in accepted:
        event = one.event
        region = event.region if isinstance(event, (Placed, OpeningBalance)) else None
        types[one.type] += 1
        DELAY_DAYS.observe(one.type, day_of(event.time, region) - event.occurred_on)
        for name in one.unknown_fields:
            _unknown_field(name)
    for kind, number in types.items():
        EVENTS.labels(kind, "accepted", "").inc(number)


def _unknown_field(name: str) -> None:
    if name not in _unknown_names and len(_unknown_names) < UNKNOWN_NAMES_MAX:
        _unknown_names.add(name)
    UNKNOWN_FIELDS.labels(name if name in _unknown_names else "(other)").inc()


def rejected(refusal: Refusal) -> None:
    """Intake refused an input; its type is not shown, since it may be anything."""
    EVENTS.labels("", "rejected", refusal.reason.value).inc()


def batch(stage: str, seconds: float) -> None:
    """A stage of a batch took that long."""
    BATCH.labels(stage).observe(seconds)


def counted(fetch: Fetch, events: int, received_at: int | None) -> None:
    """A ledger worker has stored a fetch; received_at: when intake accepted its last event, in microseconds."""
    COUNTED.labels(fetch.partition).inc(events)
    if events and received_at is not None:
        DELAY_SECONDS.observe(max(0.0, time.time() - received_at / MICROSECONDS_PER_SECOND))


def position(topic: str, number: int, next_offset: int, behind: int, last_timestamp_ms: int) -> None:
    """Where a partition stands."""
    POSITION.labels(topic, number).set(next_offset)
    LAG.labels(topic, number).set(behind)
    if last_timestamp_ms or not behind:
        LAG_SECONDS.labels(topic, number).set(max(0.0, time.time() - last_timestamp_ms / 1000) if behind else 0.0)


def business_day(partition: int, day: int) -> None:
    """The business day that a partition has reached, as an ordinal."""
    BUSINESS_DAY.labels(partition).set((day - EPOCH_ORDINAL) * 86_400)


def recovery(partition: int, done: float) -> None:
    """How much of the log of the takeover is applied, 0 to 1."""
    RECOVERY.labels(partition).set(done)


def archived(topic: str, number: int, entry: Entry) -> None:
    """A segment is in the archive."""
    ARCHIVED.labels(topic, number).inc(entry.records)
    ARCHIVED_BYTES.labels(topic, number).inc(entry.bytes)
    SEGMENTS.labels(topic, number).inc()
    archive_position(topic, number, entry.last + 1)


def archive_position(topic: str, number: int, next_offset: int) -> None:
    """How far a partition is archived."""
    ARCHIVE_POSITION.labels(topic, number).set(next_offset)


def archive_tree(topic: str, number: int, next_offset: int) -> None:
    """How far the tree over an archived partition has grown."""
    ARCHIVE_TREE.labels(topic, number).set(next_offset)


def forget_archive(topic: str, number: int) -> None:
    """The partition is archived elsewhere now."""
    forget_position(topic, number)
    for gauge in (ARCHIVE_POSITION, ARCHIVE_TREE):
        gauge.remove_by_labels({"topic": topic, "partition": str(number)})


def snapshot(outcome: str) -> None:
    """A snapshot was written, used, …"""
    SNAPSHOTS.labels(outcome).inc()


def newest_snapshot(partition: int, current_at: float, next_offset: int) -> None:
    """The newest snapshot of a partition held everything up to `next_offset` at that moment, seconds since 1970."""
    SNAPSHOT_TIME.labels(partition).set(current_at)
    SNAPSHOT_POSITION.labels(partition).set(next_offset)


def standby(partition: int, behind: int) -> None:
    """How far the copy of a partition is behind the log."""
    STANDBY_LAG.labels(partition).set(behind)


def forget_standby(partition: int) -> None:
    """There is no copy of it any more."""
    STANDBY_LAG.remove_by_labels({"partition": str(partition)})


def closings(revisions: Iterable[int]) -> None:
    """Closings are published, each of this revision."""
    for revision in revisions:
        CLOSINGS.labels("revision" if revision else "first").inc()


def forget_position(topic: str, number: int) -> None:
    """The partition is read elsewhere now."""
    for gauge in (POSITION, LAG, LAG_SECONDS):
        gauge.remove_by_labels({"topic": topic, "partition": str(number)})


def forget_partition(topic: str, number: int) -> None:
    """The partition went to another worker: its series end here."""
    forget_position(topic, number)
    for gauge in (BUSINESS_DAY, RECOVERY, SNAPSHOT_TIME, SNAPSHOT_POSITION):
        gauge.remove_by_labels({"partition": str(number)})
