"""The schemas: exported as they are, documented to the last field, and as the contract has them."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from lampit.reference import load
from schemas.anomaly import AnomalyRecord
from schemas.coverage import CoverageRecord
from schemas.events import FAMILIES, TYPES, IntakeEvent, PersonIntakeEvent
from schemas.export import FOLDER, documents
from schemas.fields import Measure
from schemas.partial import AnyPartialRecord, HeadRecord, PartialRecord
from schemas.rejection import EXPLANATIONS, Reason, RejectionRecord
from stream import coverage
from stream.calendar import ordinal
from stream.rollup import Figure
from stream.tally import MEASURES
from tests.wire import DATA, PSEUDONYMISE, event

FIGURES = {"M": 1, "F": 2, "unknown": 0, "total": 3}
UNKNOWN = {"M": None, "F": None, "unknown": None, "total": None}
COVERAGE: dict[str, Any] = {
    "region": "16.05.02",
    "level": "district",
    "name": "Megang Sakti",
    "as_of": "2019-03-28",
    "population": FIGURES,
    "obliged": FIGURES,
    "recorded": FIGURES,
    "recorded_early": FIGURES,
    "print_ready": UNKNOWN,
    "issued": UNKNOWN,
    "unrecorded": {"M": -1, "F": 1, "unknown": 0, "total": 0},
    "coverage": 0.5,
    "opening": "register",
    "stale_denominator": False,
    "epoch": 1,
    "position": {"0": 812, "1": 790},
}
PARTIAL_COUNTS = {measure: [1, 2, 0] for measure in MEASURES}
PARTIAL = {"region": "16.09", "partition": 0, "epoch": 1, "offset": 12, "day": "2019-03-28"}


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_exported_schemas_are_those_of_the_models(name: str) -> None:
    """If this fails: python -m schemas.export."""
    assert (FOLDER / name).read_text(encoding="utf-8") == documents()[name]


def test_nothing_else_is_exported() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(documents())


@pytest.mark.parametrize("name", sorted(documents()))
def test_every_field_that_is_exported_is_described(name: str) -> None:
    schema = json.loads(documents()[name])
    for title, model in [(name, schema), *schema.get("$defs", {}).items()]:
        for field, described in model.get("properties", {}).items():
            said_elsewhere = field in {"type", "data", "nik"} or "$ref" in described
            assert said_elsewhere or described.get("description"), f"{title}.{field} has no description"


def test_the_union_of_events_and_the_table_of_types_agree() -> None:
    models: tuple[type[BaseModel], ...] = get_args(PersonIntakeEvent)
    types = {get_args(model.model_fields["type"].annotation)[0] for model in models}
    assert types | {"lampit.opening_balance.v1"} == set(TYPES) == {f"lampit.{kind}.v1" for kind in DATA}
    assert set(TYPES.values()) == set(FAMILIES)


@pytest.mark.parametrize("kind", sorted(DATA))
def test_an_example_of_every_type_is_valid(kind: str) -> None:
    TypeAdapter[Any](IntakeEvent).validate_json(json.dumps(event(kind)))


def test_measures_are_those_of_the_count() -> None:
    assert get_args(Measure) == MEASURES


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert len(set(EXPLANATIONS.values())) == len(Reason)


@pytest.mark.parametrize("absent", [(), ("position",), ("position", "epoch")])
def test_a_coverage_record_goes_there_and_back(absent: tuple[str, ...]) -> None:
    record = {name: value for name, value in COVERAGE.items() if name not in absent}
    read = CoverageRecord.model_validate_json(json.dumps(record))
    assert json.loads(read.model_dump_json(exclude_unset=True)) == record


@pytest.mark.parametrize("region", ["ID", "ID-transit", "16", "16.05.02.2001"])
def test_regions_of_coverage(region: str) -> None:
    CoverageRecord.model_validate_json(json.dumps({**COVERAGE, "region": region}))


@pytest.mark.parametrize("region", ["16.05.02.2001", "16.99.02.2001"])
def test_what_is_counted_is_a_coverage_record(region: str) -> None:
    """Also of a code that the reference does not know: it has no name."""
    figure = Figure(((1, 2, 0, 3),) * len(MEASURES), "register", False)
    made = coverage.record(region, figure, coverage.Names(load(), ordinal("2019-03-28")))
    read = CoverageRecord.model_validate_json(json.dumps(made))
    assert (read.name is None) == (region == "16.99.02.2001")


@pytest.mark.parametrize(
    "wrong", [{"level": "kabupaten"}, {"coverage": "0.5"}, {"region": "1605"}, {"opening": "x"}, {"kab": 1}]
)
def test_a_wrong_coverage_record_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CoverageRecord.model_validate_json(json.dumps({**COVERAGE, **wrong}))


@pytest.mark.parametrize(
    "record",
    [
        PARTIAL,
        {**PARTIAL, "counts": PARTIAL_COUNTS, "balance": None},
        {
            **PARTIAL,
            "counts": PARTIAL_COUNTS,
            "balance": {
                "as_of": "2019-02-28",
                "counts": {"population": 400_000, "obliged": [1, 2]},
                "schedule_to_day": 4,
                "held": PARTIAL_COUNTS,
            },
        },
    ],
)
def test_a_partial_record_goes_there_and_back(record: dict[str, Any]) -> None:
    read = AnyPartialRecord.model_validate_json(json.dumps(record)).root
    assert isinstance(read, PartialRecord)
    assert json.loads(read.model_dump_json(exclude_unset=True)) == record


def test_a_head_record_goes_there_and_back() -> None:
    record = {"partition": 0, "epoch": 1, "offset": 12, "day": "2019-03-28"}
    for head in (record, {**record, "worker": "a"}):
        read = AnyPartialRecord.model_validate_json(json.dumps(head)).root
        assert isinstance(read, HeadRecord)
        assert json.loads(read.model_dump_json(exclude_unset=True)) == head


def test_an_anomaly_record() -> None:
    record = {
        "subject": PSEUDONYMISE("a"),
        "anomalies": [{"event": {"source": "/siak/1605", "id": "1"}, "kind": "unplaced"}],
    }
    assert (
        json.loads(AnomalyRecord.model_validate_json(json.dumps(record)).model_dump_json(exclude_defaults=True))
        == record
    )


def test_a_rejection_record() -> None:
    record = {
        "reason": "hidden_nik",
        "message": "id holds 16 digits in a row, which may be a NIK",
        "pointer": "/id",
        "origin": {"topic": "lampit.intake.birth", "partition": 0, "offset": 5},
        "time": "2019-03-05T02:12:00Z",
        "payload": "{}",
        "length": 300,
        "digest": PSEUDONYMISE.digest(b"x"),
    }
    assert json.loads(RejectionRecord.model_validate_json(json.dumps(record)).model_dump_json()) == record
