"""The check of the chaos suite finds what it is for: each case takes a right run and spoils one thing in what is read of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from agents.topics import ANOMALIES, CLOSINGS, COVERAGE, LEDGER, PARTIALS, REJECTED
from stream.ledger import ControlRecord, decode_record
from stream.regions import COUNTRY
from tests.chaos import check
from tests.chaos.cluster import _codecs_of
from tests.closings import is_empty
from tests.live import compare
from tests.simulation import judge
from tests.simulation.world import World
from tests.unit.test_simulation import at_rest, wait

Records = list[Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything counted and closed, in fair weather."""
    with at_rest(tmp_path_factory.mktemp("world")) as world:
        world.turn_last_day()
        wait(world, -1)
        yield world


class Spoilt(judge.Reader):
    """Reads a world, one topic of it otherwise than it is."""

    def __init__(self, world: World, topic: str = "", spoil: Callable[[Records], Records] = lambda records: records):
        """As it is."""
        super().__init__(world)
        self._topic, self._spoil = topic, spoil

    def read(self, topic: str, partitions: int = 1, *, whole: bool = False) -> Records:
        """By partition and offset."""
        records = super().read(topic, partitions, whole=whole)
        return self._spoil(records) if topic == self._topic else records


def found(world: World, reader: Any) -> set[str]:
    """What the check finds fault with."""
    findings, day = check.Findings(), world.days[-1]
    counted = judge._engine(world).count(day)
    coverage = {record.key.decode(): json.loads(record.value) for record in reader.read(COVERAGE)}
    findings.add("coverage", compare({record["region"]: record for record in counted.regions}, coverage))
    findings.add("anomalies", check._anomalies(reader, counted.anomalies))
    check._taken_in(reader, findings)
    findings.add("positions", check._positions(reader))
    check._closings(reader, findings, check.days_turned(reader, day))
    return set(findings.lines)


def test_a_right_run_is_right(world: World) -> None:
    assert found(world, Spoilt(world)) == set()


def without_last(is_one: Callable[[Any], bool]) -> Callable[[Records], Records]:
    """All but the last record that is one."""

    def spoil(records: Records) -> Records:
        last = max(number for number, record in enumerate(records) if is_one(record))
        return records[:last] + records[last + 1 :]

    return spoil


def is_event(record: Any) -> bool:
    decoded = decode_record(record.value)
    return not isinstance(decoded, ControlRecord) and decoded.forwarded_from is None


def with_other(is_one: Callable[[Any], bool], change: Callable[[Any], Any]) -> Callable[[Records], Records]:
    """The newest record that is one says something else."""

    def spoil(records: Records) -> Records:
        last = max(number for number, record in enumerate(records) if is_one(record))
        value = json.loads(records[last].value)
        change(value)
        other = SimpleNamespace(
            **{name: getattr(records[last], name) for name in ("topic", "partition", "offset", "key")}
        )
        other.value = json.dumps(value).encode()
        return [*records[:last], other, *records[last + 1 :]]

    return spoil


def of_somebody(record: Any) -> bool:
    return record.value is not None and not is_empty(json.loads(record.value))


def without_a_region(records: Records) -> Records:
    """No closing of one region whose people were closed."""
    region = json.loads(next(record for record in records if of_somebody(record)).value)["region"]
    return [record for record in records if json.loads(record.value)["region"] != region]


def without_the_first_days(records: Records) -> Records:
    last = max(json.loads(record.value)["known_day"] for record in records)
    return [record for record in records if json.loads(record.value)["known_day"] == last]


def one_more(value: Any) -> None:
    value["population"]["total"] += 1


@pytest.mark.parametrize(
    ("topic", "spoil", "finding"),
    [
        pytest.param(LEDGER, without_last(is_event), "ledger", id="an event is missing in the ledger"),
        pytest.param(REJECTED, without_last(lambda _: True), "rejected", id="a rejected record is lost"),
        pytest.param(REJECTED, lambda records: [], "rejected", id="all rejected records are lost"),
        pytest.param(
            REJECTED,
            with_other(lambda _: True, lambda value: value.update(reason="stale")),
            "rejected",
            id="another reason",
        ),
        pytest.param(
            ANOMALIES,
            with_other(lambda one: json.loads(one.value)["anomalies"], lambda value: value["anomalies"].pop()),
            "anomalies",
            id="a list of anomalies is stale",
        ),
        pytest.param(ANOMALIES, lambda records: [], "anomalies", id="no lists of anomalies"),
        pytest.param(CLOSINGS, without_a_region, "closings", id="the closings of a region are missing"),
        pytest.param(CLOSINGS, without_the_first_days, "closings", id="only the last day was closed"),
        pytest.param(CLOSINGS, lambda records: [], "closings", id="no closings"),
        pytest.param(CLOSINGS, lambda records: [*records, records[-1]], "closings", id="a closing is there twice"),
        pytest.param(
            COVERAGE,
            with_other(lambda one: one.key == COUNTRY.encode(), one_more),
            "coverage",
            id="a person too many",
        ),
        pytest.param(COVERAGE, lambda records: records[:1], "coverage", id="hardly any coverage"),
        pytest.param(COVERAGE, lambda records: [records[-1], *records], "positions", id="a position goes back"),
        pytest.param(PARTIALS, lambda records: [*records, *records], "positions", id="a head goes back"),
    ],
)
def test_what_is_spoilt_is_found(world: World, topic: str, spoil: Callable[[Records], Records], finding: str) -> None:
    assert finding in found(world, Spoilt(world, topic, spoil))


@pytest.mark.parametrize(
    ("sent", "acknowledged"),
    [
        pytest.param([b"{}"], {("lampit.intake.civil", 0, 10**6): b"{}"}, id="it is not there"),
        pytest.param([b"{}"], {}, id="not all of it was acknowledged"),
    ],
)
def test_what_was_acknowledged_and_is_not_there_is_found(
    world: World, sent: list[bytes], acknowledged: dict[tuple[str, int, int], bytes]
) -> None:
    reader = Spoilt(world)
    reader.flows = (SimpleNamespace(sent=sent, acknowledged=acknowledged),)
    assert found(world, reader) == {"acknowledged"}


def test_what_was_acknowledged_as_something_else_is_found(world: World) -> None:
    reader = Spoilt(world)
    (place, payload), *_ = world.sent.items()
    reader.flows = (SimpleNamespace(sent=[payload], acknowledged={place: payload}),)
    assert found(world, reader) == set()
    reader.flows = (SimpleNamespace(sent=[payload], acknowledged={place: b"something else"}),)
    assert found(world, reader) == {"acknowledged"}


def test_the_codec_of_every_batch_is_read_from_a_segment() -> None:
    """Two batches: the first of zstd with a body of 3 bytes, the second not compressed."""
    header = (0).to_bytes(8) + (11 + 3).to_bytes(4) + bytes(4) + b"\2" + bytes(4)
    assert list(_codecs_of(header + (4).to_bytes(2) + b"abc" + header + (0).to_bytes(2) + b"abc")) == ["zstd", None]
