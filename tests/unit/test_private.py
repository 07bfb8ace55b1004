"""No NIK, name or family-card number leaves admission, the ledger's records, the refusals or `lampit count`.

Asked of everything the other tests take in: the scenario cases, an event of each type, and the table of bad input.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.admission import Admitted, admit
from stream.ledger import decode_record, encode_record
from tests.bad_input import ALL
from tests.odd_input import common_events, objects_of, written_oddly
from tests.wire import DATA, NIK, OTHER_NIK, PSEUDONYMISE, good_events, raw

ROOT: Final = Path(__file__).resolve().parents[2]
CASES: Final = sorted((ROOT / "tests" / "scenarios" / "cases").glob("*/events.jsonl"))
NAME: Final = "Siti Aminah"
FAMILY_CARD: Final = "1605020507090003"
_NIK_SENT: Final = re.compile(r'"(?:new_)?nik": ?"?([0-9]{16})')


def _with_more_in_it(kind: str) -> bytes:
    """An event with what no office should send, at every level."""
    sent = json.loads(raw(kind, person={"birth_date": DATA[kind]["occurred_on"]}))
    for place in objects_of(sent):
        place |= {"nama": NAME, "no_kk": FAMILY_CARD, FAMILY_CARD: NAME, NAME: int(NIK), "list": [NIK, {NIK: NAME}]}
    return json.dumps(sent).encode()


@cache
def inputs() -> list[bytes]:
    """Good and bad, one line each."""
    lines = [line for case in CASES for line in case.read_bytes().splitlines()]
    lines += [raw(kind) for kind in DATA]
    lines += [_with_more_in_it(kind) for kind in DATA]
    lines += [raw(kind, {"id": NIK, "time": FAMILY_CARD}, letter=NAME) for kind in DATA]
    lines += [
        raw("death", nik=f"{NIK[:4]} {NIK[4:8]} {NIK[8:12]} {NIK[12:]}"),
        raw("death", nik=f"{NIK[:6]}.{NIK[6:]}"),
    ]
    lines += [bad.payload for bad in ALL if bad.payload is not None]
    return [line for line in lines if b"\n" not in line]


@cache
def secrets() -> re.Pattern[str]:
    """Every NIK that is sent anywhere, in one piece or with separators; the name; the family card."""
    niks = {nik for line in inputs() for nik in _NIK_SENT.findall(line.decode(errors="replace"))}
    assert {NIK, OTHER_NIK, "1605020101800001"} <= niks
    niks -= {"0" * 16}
    numbers = ("[ .,:/_-]?".join(number) for number in sorted({*niks, FAMILY_CARD}))
    return re.compile("|".join([*numbers, *NAME.split()]))


def assert_private(output: str) -> None:
    found = secrets().search(output)
    assert found is None, f"personal data in the output, from place {found.start()} on"


def test_the_search_finds_what_it_looks_for() -> None:
    for text in (NIK, f"x{OTHER_NIK}y", "16.05.02-010180-0001", "nama: Siti", FAMILY_CARD):
        with pytest.raises(AssertionError):
            assert_private(text)


@pytest.mark.parametrize("kind", sorted(DATA))
def test_an_event_with_more_in_it_is_accepted(kind: str) -> None:
    """Else the tests below would say nothing about what is dropped."""
    admitted = admit(_with_more_in_it(kind), PSEUDONYMISE)
    assert isinstance(admitted, Admitted)
    assert {"nama", "no_kk", "(other)", "data.nama"} <= set(admitted.unknown_fields)


def told(payload: bytes) -> str:
    """All that is written or can be shown of an input: the ledger record, or the refusal."""
    result = admit(payload, PSEUDONYMISE)
    if not isinstance(result, Admitted):
        return f"{msgspec.json.encode(result).decode()} {result!r}"
    record = encode_record(result.subject, result.event, 0)
    return f"{record.decode()} {decode_record(record)!r} {result!r}"


def test_nothing_personal_leaves_admission() -> None:
    for payload in inputs():
        assert_private(told(payload))


@given(
    common_events() | good_events(),
    st.randoms(use_true_random=False),
    st.sampled_from([NIK, int(NIK), f"x {NIK}"]),
)
def test_nor_when_it_is_put_anywhere(sent: dict[str, Any], random: Any, nik: str | int) -> None:
    """In the place of any value, under any name. Only NIKs: a name in `id` is for the sender to leave out."""
    place = random.choice(objects_of(sent))
    place[random.choice([*place, "x"])] = nik
    output = told(written_oddly(sent, random)) + told(json.dumps(sent).encode())
    assert NIK not in output


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All inputs as a file."""
    path = tmp_path_factory.mktemp("private") / "events.jsonl"
    path.write_bytes(b"\n".join(inputs()) + b"\n")
    return path


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--json", "--engine", "sql")], ids=" ".join)
def test_nothing_personal_leaves_the_count(events: Path, arguments: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    run = subprocess.run(
        [sys.executable, "-m", "lampit", "count", str(events), "--as-of", "2019-04-17", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=events.parent,
    )
    assert run.returncode == 0, run.stderr
    assert_private(run.stdout + run.stderr)
    if "--json" in arguments:
        counted = json.loads(run.stdout)
        assert counted["regions"]
        assert len(counted["rejected"]) > len(ALL) / 2
        assert counted["anomalies"]
        for anomaly in counted["anomalies"]:
            assert re.fullmatch("[0-9a-f]{32}", anomaly["subject"])
