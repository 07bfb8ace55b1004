"""Whether the figures that were published are those of the archived events, counted again by SQL.

In: an archive; coverage records, from `lampit.coverage` or a file of them; what the log holds behind the archive's end, where a
broker is asked. Out: `Agreement`. A coverage record says up to which offsets it counts (`position`); the newest of all says
it for every region, since a region that is not published again has not changed. Exactly these offsets are counted again.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.settings import Settings
from agents.topics import COVERAGE, LEDGER
from lampit import reference
from lampit.audit import log
from lampit.audit.archive import Archive, Filter
from lampit.audit.database import in_memory
from lampit.audit.sql_count import CountSettings, sql_count
from schemas.coverage import CoverageRecord
from stream.ledger import ControlRecord, Epoch, decode_record

MEASURES: Final = ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued", "unrecorded")
OTHERS: Final = ("coverage", "opening", "stale_denominator")
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_NOBODY: Final = {"M": 0, "F": 0, "unknown": 0, "total": 0}

Json = dict[str, Any]


@dataclass(frozen=True)
class Agreement:
    """status: equal, differs, or skipped with a reason. differences: "region measure: published …, counted …"."""

    status: str
    reason: str = ""
    as_of: str = ""
    regions: int = 0
    from_the_log: int = 0
    differences: list[str] = field(default_factory=list)


def newest(records: Iterable[bytes]) -> dict[str, Json]:
    """The newest coverage record of every region, of the newest epoch; ValueError for what is none that was published."""
    return _newest(map(_published, records))


def _published(raw: bytes) -> Json:
    said = CoverageRecord.model_validate_json(raw)
    if said.epoch is None or said.position is None or not all(map(_DIGITS.fullmatch, said.position)):
        raise ValueError("a coverage record without the offsets it counts")
    record: Json = msgspec.json.decode(raw)
    return record


def _newest(records: Iterable[Json]) -> dict[str, Json]:
    found = {record["region"]: record for record in records}
    epoch = max((record["epoch"] for record in found.values()), default=0)
    return {region: record for region, record in found.items() if record["epoch"] == epoch}


def compare_published(archive: Archive, settings: Settings) -> Agreement:
    """Compare what lampit.coverage says now. A record there that Lampit cannot have published is a difference too."""
    records, strange = [], []
    for _, record in log.read(settings, COVERAGE, {0: 0}):
        if record.value is not None:
            try:
                records.append(_published(record.value))
            except ValueError:
                strange.append(f"{COVERAGE} offset {record.offset}: no coverage record that Lampit published")
    found = compare(archive, _newest(records), settings)
    return replace(found, status="differs", differences=[*strange, *found.differences]) if strange else found


def compare(archive: Archive, live: Mapping[str, Json], settings: Settings | None) -> Agreement:
    """Count again what the published figures are of; settings: of the broker, None where none is asked."""
    if not live:
        return Agreement("skipped", "nothing is published yet")
    last = max(live.values(), key=lambda record: sum(record["position"].values()))
    upto = {int(partition): offset for partition, offset in last["position"].items()}
    held = archive.next_offsets()
    beyond = {partition: offset for partition, offset in upto.items() if offset > held.get(partition, 0)}
    tail = []
    if settings is not None and beyond:
        begins = {partition: held.get(partition, 0) for partition in beyond}
        tail = [record.value for _, record in log.read(settings, LEDGER, begins, beyond)]
    why, epoch = _epoch(archive, upto, last["epoch"])
    if epoch is None:
        return Agreement("skipped", why)
    counted = _count(archive, upto, tail, date.fromisoformat(last["as_of"]), epoch)
    differences = _differences(live, counted, last["as_of"])
    if differences and beyond and settings is None:
        partition, offset = min(beyond.items())
        why = f"the figures count partition {partition} up to offset {offset}, the archive ends at {held.get(partition, 0)}"
        return Agreement("skipped", f"{why}: give --bootstrap, or figures of a day that is archived")
    return Agreement("differs" if differences else "equal", "", last["as_of"], len(live), len(tail), differences)


def _epoch(archive: Archive, upto: Mapping[int, int], number: int) -> tuple[str, Epoch | None]:
    """The epoch that the figures are of; a reason where it cannot be counted here."""
    found = None
    for record in archive.records(Filter(partitions={0}, upto=upto)):
        if record.key == b"control|epoch":
            decoded = decode_record(record.value or b"")
            if (
                isinstance(decoded, ControlRecord)
                and isinstance(decoded.control, Epoch)
                and decoded.control.epoch == number
            ):
                found = decoded.control
    if found is None:
        return f"the archive has no record of epoch {number}", None
    if found.reference_digest != reference.load().digest:
        return "the figures were counted with another region reference than this version has", None
    return "", found


def _count(
    archive: Archive, upto: Mapping[int, int], tail: list[bytes | None], as_of: date, epoch: Epoch
) -> dict[str, Json]:
    """Every region by the second count, over the archived records up to the offsets, and those behind them."""
    whole, cut = archive.before(upto)
    rest = [value for value in (*cut, *tail) if value is not None]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(path) for path in whole]
        if rest:
            files.append(Path(folder) / "rest.ndjson")
            files[-1].write_bytes(b"".join(value.replace(b"\n", b" ") + b"\n" for value in rest))
        counted = sql_count(
            files,
            as_of=as_of,
            regions=reference.DATA / "regions",
            region_changes=reference.DATA / "region_changes.csv",
            settings=CountSettings(epoch.settings.transit_expiry_days, epoch.settings.leap_birthday),
        )
    return {record["region"]: record for record in counted.regions}


def _differences(live: Mapping[str, Json], counted: Mapping[str, Json], as_of: str) -> list[str]:
    """One line each; a region that one side does not name counts as nobody there."""
    found = []
    for region in sorted(live.keys() | counted.keys()):
        ours, theirs = counted.get(region), live.get(region)
        if theirs is not None and theirs["as_of"] != as_of:
            found.append(f"{region} as_of: published {theirs['as_of']}, the others {as_of}")
        for name in MEASURES:
            one, other = (_NOBODY if record is None else record[name] for record in (theirs, ours))
            if one != other:
                found.append(f"{region} {name}: published {_shown(one)}, counted {_shown(other)}")
        if ours is not None and theirs is not None:
            found += [
                f"{region} {name}: published {theirs[name]}, counted {ours[name]}"
                for name in OTHERS
                if ours[name] != theirs[name]
            ]
    return found


def _shown(figure: Json) -> str:
    total = figure["total"]
    return f"{'–' if total is None else total} (M {figure['M']}, F {figure['F']}, unknown {figure['unknown']})"


def reused_ids(archive: Archive) -> list[Json]:
    """Every source and id that several persons' events carry: each is an event of its own, and worth a question.

    A change of NIK stands under both ids by itself, and a copy forwarded to a merged person is none.
    """
    sql = (
        "SELECT source, id, count(DISTINCT subject) AS persons, min(first) AS place FROM (SELECT source, id, "
        "coalesce(subject, json_extract_string(record, '$.subject')) AS subject, "
        """partition || '/' || "offset" AS first """
        f"FROM ({archive.records_sql()}) WHERE receivedat IS NOT NULL AND type <> 'lampit.nik_change.v1' "
        'AND (subject IS NOT NULL OR NOT contains(record, \'"forwardedfrom":"\'))) '
        "GROUP BY source, id HAVING count(DISTINCT subject) > 1 ORDER BY source, id"
    )
    with in_memory() as connection:
        rows = connection.execute(sql).fetchall()
    return [{"source": source, "id": id_, "persons": persons, "first": first} for source, id_, persons, first in rows]
