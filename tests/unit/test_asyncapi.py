"""The AsyncAPI document says what the topics are, and points at schemas that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml

import schemas
from agents.settings import Settings
from agents.topics import INTAKE_TOPICS, Topic, topics_of
from schemas.events import TYPES, OpeningBalanceEvent, PersonIntakeEvent
from stream import closing_parts, partials
from stream.admission import Admitted, admit
from stream.closing_cells import Barrier
from stream.contribution import Change
from stream.events import OpeningBalance
from stream.ledger import Day, Epoch, EpochSettings, Genesis, control_key, record_key
from stream.opening import Book
from stream.periods import Periods
from tests.wire import DATA, PSEUDONYMISE, raw

FOLDER: Final = Path(schemas.__file__).parent
BALANCE: Final = OpeningBalance(source="/siak", id="b", time=0, occurred_on=1, region="16.05", counts={})
DOCUMENT: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text(encoding="utf-8"))
TOPICS: Final = {topic.name: topic for topic in topics_of(Settings())}


def resolved(reference: str) -> Any:
    """What a $ref of the document points at, in it or in a file beside it."""
    file, _, pointer = reference.partition("#")
    value = json.loads((FOLDER / file).read_text(encoding="utf-8")) if file else DOCUMENT
    for part in pointer.split("/")[1:]:
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def references(value: Any) -> Iterator[str]:
    """Every $ref of the document."""
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else ()
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def followed(value: Any) -> Any:
    """The value, or what it refers to."""
    return followed(resolved(value["$ref"])) if isinstance(value, dict) and "$ref" in value else value


CHANNELS: Final = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}


def messages_of(topic: str) -> dict[str, dict[str, Any]]:
    """The messages of a topic by their names."""
    return {followed(message)["name"]: followed(message) for message in CHANNELS[topic]["messages"].values()}


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > len(TYPES)
    for reference in found:
        assert resolved(reference), reference


def test_nothing_is_left_over() -> None:
    used = set(references(DOCUMENT))
    for kind, members in DOCUMENT["components"].items():
        for name in members:
            assert f"#/components/{kind}/{name}" in used


def test_every_schema_that_is_exported_is_used() -> None:
    files = {Path(reference.partition("#")[0]).name for reference in references(DOCUMENT)} - {""}
    assert files == {path.name for path in (FOLDER / "json").iterdir()}


def test_the_channels_are_the_topics() -> None:
    assert len(DOCUMENT["channels"]) == len(CHANNELS)
    assert set(CHANNELS) == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_a_channel_is_as_its_topic_is_made(topic: Topic) -> None:
    binding = followed(CHANNELS[topic.name]["bindings"])["kafka"]
    assert binding.get("topic", topic.name) == topic.name
    assert binding["partitions"] == topic.partitions
    config = {name: str(value) for name, value in binding["topicConfiguration"].items() if name != "cleanup.policy"}
    assert (binding["topicConfiguration"]["cleanup.policy"], config) == ([topic.cleanup], dict(topic.config))


def test_every_intake_topic_carries_the_types_of_its_family() -> None:
    models = {
        get_args(model.model_fields["type"].annotation)[0]: model.__name__
        for model in (*get_args(PersonIntakeEvent), OpeningBalanceEvent)
    }
    for topic in INTAKE_TOPICS:
        family = topic.removeprefix("lampit.intake.")
        messages = messages_of(topic)
        assert set(messages) == {kind for kind, carried_by in TYPES.items() if carried_by == family}
        for kind, message in messages.items():
            assert message["payload"]["schema"]["$ref"] == f"json/intake.json#/$defs/{models[kind]}"


def test_every_channel_is_used_in_the_right_direction() -> None:
    directions = {operation["channel"]["$ref"]: operation["action"] for operation in DOCUMENT["operations"].values()}
    assert directions == {
        f"#/channels/{name}": "receive" if channel["address"] in INTAKE_TOPICS else "send"
        for name, channel in DOCUMENT["channels"].items()
    }


def matches(topic: str, message: str, key: bytes) -> bool:
    """Whether a key is of the form that the document gives."""
    described = followed(messages_of(topic)[message]["bindings"])["kafka"]["key"]
    return re.search(described["pattern"], key.decode(), re.ASCII) is not None


@pytest.mark.parametrize("kind", sorted(DATA))
def test_keys_of_events_are_of_the_form_described(kind: str) -> None:
    admitted = admit(raw(kind), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert matches("lampit.ledger", "ledgerRecord", record_key(admitted.subject, admitted.event))


@pytest.mark.parametrize(
    "control",
    [Genesis("a", 4, 0, "b"), Epoch(1, "1", EpochSettings(None, "mar1"), "c"), Day(1)],
    ids=lambda control: type(control).__name__,
)
def test_keys_of_control_records_are_of_the_form_described(control: Genesis | Epoch | Day) -> None:
    key = control_key(control)
    assert matches("lampit.ledger", "ledgerRecord", key)
    assert (
        f"`{key.decode()}`"
        in followed(messages_of("lampit.ledger")["ledgerRecord"]["bindings"])["kafka"]["key"]["description"]
    )


def test_keys_of_other_records_are_of_the_form_described() -> None:
    assert matches("lampit.partials", "partial", partials.key("16.05.02.2001", 3))
    assert matches("lampit.partials", "partial", partials.key("ID-transit", 0))
    assert matches("lampit.partials", "partial", partials.key("73.08.20.2007~2022-11-09", 0))
    assert matches("lampit.partials", "head", partials.head_key(12))
    assert not matches("lampit.partials", "head", partials.key("ID", 0))
    barrier = Barrier(
        1, 2, {(0, "16.05~2020-01-01@737118"): Change(1), (-1, "ID-transit"): Change(1)}, [BALANCE], Book()
    )
    parts = [*closing_parts.records(barrier, Periods.since("2019-03"), 0, 1, "0123abcd")]
    names = ["change", "change", "balance", "barrier"]
    assert all(matches("lampit.partials", name, part.key) for name, part in zip(names, parts, strict=True))
    assert matches("lampit.partials", "closed", closing_parts.ClosedRecord.key)
    assert matches("lampit.coverage", "coverage", b"ID-transit")
    assert matches("lampit.rejected", "rejected", b"lampit.intake.move-out|3|1234")
    assert matches("lampit.anomalies", "anomalies", PSEUDONYMISE("a").encode())
    assert matches("lampit.heads", "archiveHead", b"00000000-0000-4000-8000-000000000001|lampit.ledger|3|50000")
