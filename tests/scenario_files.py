"""The scenario files, read: compact stories become CloudEvents and expected figures.

In: `tests/scenarios/*.yaml`, one story to a YAML document (tests/scenarios/README.md says how one reads).
Out: `load_scenarios()` gives a `Scenario` for each story, and one more for the story as it stood before an event that
changes it. Nothing is counted here: the tests hand the events to a counter and compare. No figure comes from the
counter either: the files are what a person worked out from the contract.

YAML guesses types (`on` is true, 16.05 a number, 2019-03-28 a date), so every scalar is read as the text that was
written, and this module turns it into the type the field has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

import yaml

SCENARIO_DIRECTORY: Final = Path(__file__).parent / "scenarios"

EVENT_TYPES: Final = (
    "register", "birth", "death", "move_out", "move_in", "recording", "marriage", "residence_permit", "correction",
    "missing", "found", "nik_change", "cancellation", "opening_balance",
)  # fmt: skip
MEASURES: Final = ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued", "unrecorded")
VALUE_FIELDS: Final = (*MEASURES, "coverage", "opening", "stale_denominator", "name")

NOBODY: Final = "nobody"
FLOW_FIELDS: Final = ("births", "stillbirths", "deaths", "moved_out", "moved_in", "recordings", "served", "turned_17",
                      "corrections")  # fmt: skip
CLOSING_FIELDS: Final = ("opening", *FLOW_FIELDS, "closing", "obliged", "recorded", "unrecorded", "coverage")
DATINGS: Final = ("event", "report")
_SCENARIO_FIELDS = {
    "name",
    "story",
    "tags",
    "settings",
    "events",
    "expect",
    "anomalies",
    "rejected",
    "before",
    "closings",
}
_ENVELOPE_FIELDS = {"on", "reported", "label", "id", "source", "json"}
_TYPED_FIELDS = {"stillborn", "already_registered", "in_opening", "counts", "turning_17"}
_DATA_FIELDS = {"region", "destination", "origin", "letter", "status"} | _TYPED_FIELDS
_PERSON_FIELDS = {"born": "birth_date", "sex": "sex", "ever_married_on": "ever_married_on",
                  "recorded_on": "recorded_on", "citizen": "citizen", "permanent_permit": "permanent_permit"}  # fmt: skip
# Types that say one of the person's fields themselves, not in data.person.
_OWN_FIELDS = {"birth": {"sex"}, "correction": {"born", "sex"}, "residence_permit": {"citizen", "permanent_permit"}}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WHOLE_NUMBER = re.compile(r"-?\d+")

Json = dict[str, Any]
Value = int | float | str | bool | dict[str, int | None] | None


class Expectation(TypedDict):
    """Figures of one region on one day, by the codes of hierarchy_of; a number is a total, a mapping goes by sex."""

    as_of: str
    hierarchy_of: str
    region: str
    values: dict[str, Value]


class ClosingExpectation(TypedDict):
    """Figures of one region's month, in the datings named; opening and closing are the population."""

    period: str
    region: str
    by: tuple[str, ...]
    values: dict[str, Value]


class EventName(TypedDict):
    """What names an event within one person."""

    source: str
    id: str


class ExpectedAnomaly(TypedDict):
    """One anomaly of the complete list."""

    event: EventName
    kind: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story: the events as an office sends them, and what must be counted."""

    name: str
    file: str
    story: str
    tags: tuple[str, ...]
    settings: dict[str, int | str]
    events: list[Json]
    expect: list[Expectation]
    closings: list[ClosingExpectation]
    anomalies: list[ExpectedAnomaly] | None
    rejected: int


class ScenarioFileError(ValueError):
    """A scenario file that does not say what a scenario must say."""


def load_scenarios(directory: Path = SCENARIO_DIRECTORY) -> list[Scenario]:
    """Every scenario of the directory, in the order of files and documents."""
    return [scenario for path in sorted(directory.glob("*.yaml")) for scenario in read_scenario_file(path)]


def read_scenario_file(path: Path) -> Iterator[Scenario]:
    """The scenarios of one file; `ScenarioFileError` names the file and the story that cannot be read."""
    for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader):
        name = str(document.get("name", "a story without a name"))
        try:
            yield from _scenarios(document, path.name)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ScenarioFileError(f"{path.name}: {name}: {error}") from error


def _scenarios(document: Json, file: str) -> Iterator[Scenario]:
    _refuse_unknown("a scenario", document, _SCENARIO_FIELDS)
    name = document["name"]
    lines = _with_repeats(document["events"])
    labels = {line["label"]: index for index, line in enumerate(lines) if "label" in line}
    names = [_event_name(name, index, line) for index, line in enumerate(lines)]
    events = [_event(name, index, lines, names, labels) for index in range(len(lines))]

    def scenario(title: str, part: Json, count: int) -> Scenario:
        return Scenario(
            name=title,
            file=file,
            story=str(document["story"]).strip(),
            tags=tuple(document.get("tags", ())),
            settings={key: int(text) if text.isdigit() else text for key, text in document.get("settings", {}).items()},
            events=events[:count],
            expect=[_expectation(line) for line in part.get("expect", [])],
            closings=[_closing(line) for line in part.get("closings", [])],
            anomalies=_anomalies(part.get("anomalies"), names, labels),
            rejected=int(part.get("rejected", 0)),
        )

    if "before" in document:
        before = document["before"]
        _refuse_unknown("before", before, {"event", "expect", "anomalies", "rejected", "closings"})
        yield scenario(f"{name}-before-{before['event']}", before, labels[before["event"]])
    yield scenario(name, document, len(lines))


def _with_repeats(lines: list[Json]) -> list[Json]:
    """`again: label` is the labelled line once more, same source and id, with what the line changes laid over it."""
    whole: list[Json] = []
    for line in lines:
        if "again" not in line:
            whole.append(line)
            continue
        first = next(index for index, earlier in enumerate(whole) if earlier.get("label") == line["again"])
        changes = {key: value for key, value in line.items() if key != "again"}
        kept = {key: value for key, value in whole[first].items() if key != "label"}
        if "on" in changes and "reported" not in changes and "reported" not in kept:
            raise ValueError("a repeated event with another day must say when it was reported")
        whole.append(kept | changes | {"same_id_as": str(first)})
    return whole


def _event_type(line: Json) -> str:
    types = [key for key in line if key in EVENT_TYPES]
    if len(types) != 1:
        raise ValueError(f"an event has one type, this one has {types or 'none'}")
    return types[0]


def _event_name(scenario: str, index: int, line: Json) -> EventName:
    event_type = _event_type(line)
    region = line["opening_balance"] if event_type == "opening_balance" else line.get("region", "16.05")
    source = line.get("source", "/siak/" + region[:5].replace(".", "").lower())
    number = int(line.get("same_id_as", index)) + 1
    digest = hashlib.sha256(scenario.encode()).hexdigest()
    # The line number comes first, so that at equal time and source the ids stand in the order of the lines.
    default_id = f"{number:08x}-{digest[:4]}-8{digest[4:7]}-8{digest[7:10]}-{digest[10:22]}"
    return {"source": source, "id": line.get("id", default_id)}


def _event(scenario: str, index: int, lines: list[Json], names: list[EventName], labels: dict[str, int]) -> Json:
    line = lines[index]
    event_type = _event_type(line)
    own_keys = {"cancels"} if event_type == "cancellation" else {"new"} if event_type == "nik_change" else set()
    own_keys |= {"served_at"} if event_type == "recording" else set()
    known = {event_type, "same_id_as"} | _ENVELOPE_FIELDS | _DATA_FIELDS | set(_PERSON_FIELDS) | own_keys
    _refuse_unknown(event_type, line, known)
    data: Json = {"occurred_on": line["on"]}
    if event_type == "opening_balance":
        data["region"] = line[event_type]
    elif line[event_type] != NOBODY:
        data["nik"] = nik(scenario, line[event_type])
    data |= {
        key: _typed(line[key]) if key in _TYPED_FIELDS else _text(line[key]) for key in _DATA_FIELDS if key in line
    }
    for key, field in _PERSON_FIELDS.items():
        if key in line:
            owner = data if key in _OWN_FIELDS.get(event_type, ()) else data.setdefault("person", {})
            owner[field] = _typed(line[key])
    if "served_at" in line:
        data["service_point"] = line["served_at"]
    if event_type == "nik_change":
        data["new_nik"] = nik(scenario, line["new"])
    if event_type == "cancellation":
        data["cancels"] = dict(_cancelled(line["cancels"], names, labels))
    reported: str = line["reported"] if "reported" in line else line["on"]
    event: Json = {
        "specversion": "1.0",
        "id": names[index]["id"],
        "source": names[index]["source"],
        "type": f"lampit.{event_type}.v1",
        "time": f"{reported}T10:00:00+07:00" if _DAY.fullmatch(reported) else reported,
        "data": data,
    }
    return _merge_patch(event, json.loads(line["json"])) if "json" in line else event


def _cancelled(reference: str | EventName, names: list[EventName], labels: dict[str, int]) -> EventName:
    """The event with that label; one that is in no file is written as {source, id}."""
    return names[labels[reference]] if isinstance(reference, str) else reference


def nik(scenario: str, person: str) -> str:
    """A made-up NIK: sixteen digits that are always the same for this person of this scenario."""
    number = int(hashlib.sha256(f"{scenario}|{person}".encode()).hexdigest(), 16)
    day, month, year, serial = number % 28 + 1, number // 28 % 12 + 1, number // 336 % 100, number // 33600 % 9999 + 1
    return f"160502{day:02}{month:02}{year:02}{serial:04}"


def _text(text: str) -> str | None:
    return None if text == "null" else text


def _typed(text: Any) -> Any:
    """Texts of yes, no, null and whole numbers become values; codes and dates stay texts."""
    if isinstance(text, dict):
        return {key: _typed(value) for key, value in text.items()}
    if isinstance(text, list):
        return [_typed(value) for value in text]
    if text in ("true", "false"):
        return text == "true"
    if text == "null":
        return None
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else text


def _expectation(line: Json) -> Expectation:
    _refuse_unknown("expect", line, {"as_of", "hierarchy_of", "region", *VALUE_FIELDS})
    as_of = line["as_of"]
    return {
        "as_of": as_of,
        "hierarchy_of": line.get("hierarchy_of", as_of),
        "region": line["region"],
        "values": _values(line, {"as_of", "hierarchy_of", "region"}),
    }


def _closing(line: Json) -> ClosingExpectation:
    _refuse_unknown("closings", line, {"period", "region", "by", *CLOSING_FIELDS})
    by = (line["by"],) if "by" in line else DATINGS
    if not set(by) <= set(DATINGS):
        raise ValueError("by: event or report; without it, both")
    return {
        "period": line["period"],
        "region": line["region"],
        "by": by,
        "values": _values(line, {"period", "region", "by"}),
    }


def _values(line: Json, others: set[str]) -> dict[str, Value]:
    values = {key: _typed(text) for key, text in line.items() if key not in others}
    match values.get("coverage"):
        case str(ratio):
            recorded, _, obliged = ratio.partition("/")
            values["coverage"] = int(recorded) / int(obliged)
    return values


def _anomalies(
    lines: list[Json] | str | None, names: list[EventName], labels: dict[str, int]
) -> list[ExpectedAnomaly] | None:
    """The complete list, in the order of source, id and kind; None where the story says `not_stated`."""
    if lines == "not_stated":
        return None
    if not isinstance(lines, list):
        raise ValueError("anomalies: the complete list ([] for none), or not_stated")
    found: list[ExpectedAnomaly] = [{"event": names[labels[line["event"]]], "kind": line["kind"]} for line in lines]
    return sorted(found, key=lambda anomaly: (anomaly["event"]["source"], anomaly["event"]["id"], anomaly["kind"]))


def _merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7396: what the patch says replaces what the event said; null takes a field away."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge_patch(merged[key], value)
        else:
            merged[key] = value
    return merged


def _refuse_unknown(what: str, line: Json, known: set[str]) -> None:
    unknown = sorted(set(line) - known)
    if unknown:
        raise ValueError(f"{what} has no field {', '.join(unknown)}")
