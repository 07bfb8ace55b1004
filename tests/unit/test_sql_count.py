"""The second count (lampit/audit/count.sql) against figures worked out by hand from the contract.

Every story is counted with its events in reverse, on its second day in the order written, and so on: the order of arrival
changes nothing.
The codes that the events name make up the region reference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from agents.segments import encode, records_table
from lampit.audit.sql_count import CountSettings, SqlCount, sql_count
from tests.counters import ONE_THREAD
from tests.unit.sql_count_events import (
    NOWHERE,
    REFERENCE,
    TRANSIT,
    A,
    B,
    C,
    Json,
    P,
    Q,
    S,
    cancel,
    event,
    ledger_record,
    register,
)
from tests.unit.sql_count_stories import (
    BALANCES,
    CARDS,
    GONE,
    HOMES,
    IDENTITY,
    OPENING,
    PERSONS,
    RESIDENT,
    Story,
    death,
)


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    files = {"provinces": 2, "regencies": 5, "districts": 8, "villages": 13}
    for name, length in files.items():
        lines = [f'{code},"Place, {code}"' for code in REFERENCE if len(code) == length]
        (folder / f"{name}.csv").write_text("\n".join(["code,name", *lines]) + "\n", encoding="utf-8")
    return folder


def counted(events: Iterable[Json], as_of: str, regions: Path, **settings: Any) -> SqlCount:
    """In the order written and in reverse."""
    records = [ledger_record(event) for event in events]
    count, other = (counted_once(order, as_of, regions, **settings) for order in (records, records[::-1]))
    assert other == count
    return count


def counted_once(records: list[tuple[str | None, bytes]], as_of: str, regions: Path, **settings: Any) -> SqlCount:
    chosen = CountSettings(**settings)
    return sql_count(records, as_of=date.fromisoformat(as_of), regions=regions, settings=chosen, machine=ONE_THREAD)


def check(count: SqlCount, region: str, values: Json) -> None:
    """A number is a total, a mapping goes by sex; in a region that is not listed there is nobody."""
    record = next((record for record in count.regions if record["region"] == region), None)
    for name, value in values.items():
        got = record[name] if record is not None else 0
        if isinstance(got, dict):
            got = {key: got[key] for key in value} if isinstance(value, dict) else got["total"]
        assert got == value, f"{region} {name}: {got}, expected {value}"


def kinds(count: SqlCount) -> list[tuple[str, str]]:
    return sorted((anomaly["event"]["id"], anomaly["kind"]) for anomaly in count.anomalies)


# ------------------------------------------------------------------------------------------------- the state table

KNOWN = {"birth_date": "1990-01-01", "sex": "F"}
# The states are reached by a move in, so that a register of 2012 is the one that stands.
ARRIVED = event("move_in", P, "2010-01-01", "s1", region=A, person=KNOWN)
STATES: dict[str, list[Json]] = {
    "NEW": [event("move_in", P, "2015-01-01", "s9", region=C, person=KNOWN)],
    "HOME": [ARRIVED],
    "TRANSIT": [ARRIVED, event("move_out", P, "2011-01-01", "s2", region=A, destination=C)],
    "OUT": [ARRIVED, event("move_out", P, "2011-01-01", "s2", region=A, destination="abroad")],
    "MISSING": [ARRIVED, event("missing", P, "2011-01-01", "s2", region=A)],
    "DEAD": [ARRIVED, event("death", P, "2011-01-01", "s2", region=A)],
    "UNMATCHED": [ARRIVED, event("move_in", P, "2011-01-01", "s2", region=B)],
}
ENTRY = [("NEW", A, A, None), ("HOME", A, A, None), ("HOME", B, B, None), ("TRANSIT", B, B, None),
    ("OUT", B, B, None),
         ("MISSING", B, B, None), ("DEAD", B, NOWHERE, None)]  # fmt: skip
ARRIVAL = [("NEW", A, A, None), ("HOME", A, A, "already_resident"), ("HOME", B, B, "missing_move_out"),
           ("TRANSIT", B, B, None), ("OUT", B, B, None), ("MISSING", B, B, None),
               ("DEAD", B, NOWHERE, "after_death")]  # fmt: skip
ROWS = [
    *(("register", {}, *row) for row in ENTRY),
    *(("move_in", {}, *row) for row in ARRIVAL),
    *(("found", {}, *row) for row in ARRIVAL),
    ("move_out", {"destination": C}, "NEW", A, NOWHERE, "already_out"),
    ("move_out", {}, "HOME", A, TRANSIT, None),
    ("move_out", {"destination": C}, "HOME", B, TRANSIT, "region_mismatch"),
    ("move_out", {"destination": A}, "HOME", B, A, "late_move_out"),
    ("move_out", {"destination": C}, "UNMATCHED", A, B, "late_move_out"),
    ("move_out", {"destination": C}, "TRANSIT", A, TRANSIT, "already_out"),
    ("move_out", {"destination": C}, "OUT", A, NOWHERE, "already_out"),
    ("move_out", {"destination": C}, "DEAD", A, NOWHERE, "after_death"),
    ("move_out", {"destination": "abroad"}, "NEW", A, NOWHERE, "already_out"),
    ("move_out", {"destination": "abroad"}, "HOME", A, NOWHERE, None),
    ("move_out", {"destination": "abroad"}, "HOME", B, NOWHERE, "region_mismatch"),
    ("move_out", {"destination": "abroad"}, "UNMATCHED", A, B, "late_move_out"),
    ("move_out", {"destination": "abroad"}, "TRANSIT", A, NOWHERE, None),
    ("move_out", {"destination": "abroad"}, "OUT", A, NOWHERE, "already_out"),
    ("move_out", {"destination": "abroad"}, "DEAD", A, NOWHERE, "after_death"),
    ("missing", {}, "NEW", A, NOWHERE, "already_out"),
    ("missing", {}, "HOME", A, NOWHERE, None),
    ("missing", {}, "HOME", B, NOWHERE, "region_mismatch"),
    ("missing", {}, "TRANSIT", A, NOWHERE, None),
    ("missing", {}, "OUT", A, NOWHERE, "already_out"),
    ("missing", {}, "DEAD", A, NOWHERE, "after_death"),
    ("death", {}, "NEW", A, NOWHERE, None),
    ("death", {}, "HOME", A, NOWHERE, None),
    ("death", {}, "HOME", B, NOWHERE, "region_mismatch"),
    ("death", {}, "TRANSIT", B, NOWHERE, None),
    ("death", {}, "OUT", B, NOWHERE, None),
    ("death", {}, "DEAD", A, NOWHERE, "after_death"),
]


def in_own_regions(text: Json, row: int) -> Json:
    """The event with a person, ids and districts of this row alone, so that all rows are counted at once."""
    written = json.dumps(text).replace(P, f"16050201018100{row:02}").replace("16.05.02", f"16.05.{row:02}")
    changed: Json = json.loads(written.replace("15.03.01", f"15.03.{row:02}"))
    return changed | {"id": f"{row:02}-{text['id']}"}


@pytest.mark.parametrize("in_transit", [True, False], ids=["who ends in transit", "who does not"])
def test_state_table(in_transit: bool, regions: Path) -> None:
    rows = [row for row in ROWS if (row[4] == TRANSIT) == in_transit]
    events: list[Json] = []
    places: dict[str, int] = {}
    anomalies: list[tuple[str, str]] = []
    for number, (kind, data, state, region, place, anomaly) in enumerate(rows):
        fact = event(
            kind, P, "2012-01-01", "fact", region=region, **data, **({"person": KNOWN} if kind == "register" else {})
        )
        events += [in_own_regions(text, number) for text in (*STATES[state], fact)]
        for village in (A, B, C):
            code = in_own_regions(event("death", P, "2012-01-01", "x", region=village), number)["data"]["region"]
            places[code] = int(place == village)
        found = {"fact": anomaly, "s2": "missing_move_out" if state == "UNMATCHED" else None, "s9": None}
        if state == "NEW":  # the move in of 2015 is what places the person at all
            found["s9"] = {"death": "after_death", "register": "missing_move_out", "move_in": "missing_move_out",
                           "found": "missing_move_out"}.get(kind)  # fmt: skip
        anomalies += [(f"{number:02}-{label}", name) for label, name in found.items() if name]
    count = counted(events, "2013-01-01", regions)
    listed = {record["region"]: record["population"]["total"] for record in count.regions}
    assert {code: listed.get(code, 0) for code in places} == places
    assert listed[TRANSIT] == (len(rows) if in_transit else 0)
    districts = {(anomaly["event"]["id"], anomaly["kind"]) for anomaly in count.anomalies}
    assert sorted(found for found in districts if found[1] != "unknown_region") == sorted(anomalies)


@pytest.mark.parametrize("story", [*PERSONS, *CARDS, *HOMES, *IDENTITY, *BALANCES], ids=lambda story: story.name)
def test_story(story: Story, regions: Path) -> None:
    orders = cycle([[ledger_record(event) for event in told] for told in (story.events[::-1], story.events)])
    counts = {
        as_of: counted_once(next(orders), as_of, regions, **story.settings)
        for as_of in sorted({as_of for as_of, _, _ in story.expect})
    }
    for as_of, region, values in story.expect:
        try:
            check(counts[as_of], region, values)
        except AssertionError as error:
            raise AssertionError(f"on {as_of}: {error}") from error
    for count in counts.values():
        assert kinds(count) == story.anomalies


# -------------------------------------------------------------------------------------------------------- the rest


def test_conflict_at_equal_time_is_decided_by_the_canonical_form(regions: Path) -> None:
    letters = ['"\\/\b\n\x0b\x1f', "é€\U0001f600", "plain"]
    rivals = [
        event(
            "move_in",
            P,
            "2019-01-01",
            "x",
            region=village,
            letter=letter,
            person={"sex": "F", "birth_date": "1990-01-01"},
        )
        for village, letter in zip((A, B, C), letters, strict=True)
    ]

    def digest(rival: Json) -> str:
        # For ASCII member names and no floats, RFC 8785 is Python's compact form with sorted keys.
        data = {key: value for key, value in rival["data"].items() if key != "nik"}
        whole = rival | {"data": data, "time": "2019-01-01T03:00:00Z"}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    winner = min(rivals, key=digest)["data"]["region"]
    count = counted(rivals, "2019-02-01", regions)
    check(count, winner, {"population": 1})
    check(count, "ID", {"population": 1})
    assert kinds(count) == [("x", "conflicting_duplicate")]


def test_a_code_is_known_only_while_it_is_valid(regions: Path, tmp_path: Path) -> None:
    changes = tmp_path / "region_changes.csv"
    changes.write_text(
        "effective_on,kind,old_code,old_name,new_code,new_name,level,confidence,source\n"
        f"2019-10-08,split,{S},a,{A},b,village,certain,x\n"
        f"2019-10-08,recode,16.09.01.2099,c,{B},c,village,certain,x\n"
        f"2019-10-08,rename,{C},d,{C},e,village,certain,x\n",
        encoding="utf-8",
    )
    named = [(S, "2018"), (S, "2020"), (A, "2018"), (A, "2020"), ("16.09.01.2099", "2018"), ("16.09.01.2099", "2020"),
             (B, "2018"), (B, "2020"), (C, "2018"), (C, "2020"), ("16.09.01.2098", "2020")]  # fmt: skip
    events = [
        register(f"16050201018001{number:02}", f"{year}-01-01", f"{code}/{year}", region=code)
        for number, (code, year) in enumerate(named)
    ]
    records = [ledger_record(line) for line in events]
    count = sql_count(records, as_of=date(2021, 1, 1), regions=regions, region_changes=changes)
    assert kinds(count) == sorted(
        (f"{code}/{year}", "unknown_region")
        for code, year in [(A, "2018"), (B, "2018"), ("16.09.01.2099", "2020"), ("16.09.01.2098", "2020")]
    )


def test_files_give_the_same_count(regions: Path, tmp_path: Path) -> None:
    events = [RESIDENT, GONE, OPENING, death("2019-03-05", nik=Q)]
    records = [record for _, record in map(ledger_record, events)]
    expected = counted(events, "2019-03-10", regions)
    lines = tmp_path / "ledger.ndjson"
    lines.write_bytes(b"\n".join(records) + b"\n")
    parquet = tmp_path / "it's a ledger.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE ledger (value BLOB)")
        connection.executemany("INSERT INTO ledger VALUES (?)", [[record] for record in records])
        connection.execute("COPY ledger TO '" + str(parquet).replace("'", "''") + "' (FORMAT parquet)")
    for path in (lines, parquet):
        assert sql_count(path, as_of=date(2019, 3, 10), regions=regions) == expected


GENESIS = {"specversion": "1.0", "id": "genesis", "source": "/lampit/ledger", "type": "lampit.genesis.v1",
           "time": "2019-01-01T00:00:00Z", "data": {"ledger_id": "x", "partitions": 4, "partition": 0}}  # fmt: skip


@pytest.mark.parametrize("taken_apart", [True, False], ids=["segments of an archive", "records as bytes"])
def test_a_folder_gives_the_same_count(taken_apart: bool, regions: Path, tmp_path: Path) -> None:
    """Two partitions, one in two files, with control records and a copy that was forwarded to a merged person."""
    events = [
        RESIDENT, GONE, OPENING, death("2019-03-05", nik=Q),
        event("recording", Q, "2019-02-01", 'back\\slash', region=S, status="sent", person={"sex": "F"}),
        cancel(Q, "2019-02-02", "x", 'back\\slash'),
    ]  # fmt: skip
    records = [ledger_record(one) for one in events]
    expected = sql_count(records, as_of=date(2019, 3, 10), regions=regions)
    copied = json.loads(records[0][1]) | {"subject": "0" * 32, "forwardedfrom": records[0][0]}
    kept: list[tuple[str | None, bytes]] = [(None, json.dumps(GENESIS).encode()), *records]
    kept.append(("0" * 32, json.dumps(copied).encode()))
    for number, part in enumerate((kept[:2], kept[2:5], kept[5:])):
        folder = tmp_path / "ledger" / f"partition={number % 2:05}"
        folder.mkdir(parents=True, exist_ok=True)
        table = records_table(
            [
                SimpleNamespace(offset=offset, timestamp=0, key=key and key.encode(), value=compact(value))
                for offset, (key, value) in enumerate(part)
            ]
        )
        file = folder / f"{number}.parquet"
        if taken_apart:
            file.write_bytes(encode(table))
        else:
            pq.write_table(table, file)
    (tmp_path / "closings").mkdir()
    (tmp_path / "closings" / "other.parquet").write_bytes(b"of another topic")
    assert sql_count(tmp_path, as_of=date(2019, 3, 10), regions=regions) == expected
    files = sorted(tmp_path.glob("ledger/*/*.parquet"))
    assert sql_count(files, as_of=date(2019, 3, 10), regions=regions) == expected


def compact(record: bytes) -> bytes:
    """As the ledger writes it: no white space, members in its order, so that an archive takes it apart."""
    first = ("specversion", "id", "source", "type", "time", "subject", "receivedat")
    read = json.loads(record)
    data = {name: read["data"][name] for name in ("occurred_on", "region") if name in read["data"]} | read["data"]
    ordered = {name: read[name] for name in first if name in read} | read | {"data": data}
    ordered["data"] = ordered.pop("data")
    return json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()


def test_an_empty_folder_is_told(regions: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        sql_count(tmp_path, as_of=date(2019, 3, 10), regions=regions)


def test_control_records_are_not_events(regions: Path) -> None:
    records = [(None, json.dumps(GENESIS).encode()), ledger_record(RESIDENT)]
    count = sql_count(records, as_of=date(2019, 3, 10), regions=regions)
    assert (
        [record["region"] for record in count.regions]
        == ["16", "16.05", "16.05.02", A, "ID", TRANSIT]
        == sorted(record["region"] for record in count.regions)
    )
    check(count, A, {"population": 1})


def test_no_events_at_all(regions: Path) -> None:
    count = sql_count([], as_of=date(2019, 3, 10), regions=regions)
    assert [record["region"] for record in count.regions] == ["ID", TRANSIT]
    assert count.anomalies == []
