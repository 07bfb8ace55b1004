"""`lampit day` for a day that the partitions have reached: nothing is appended, and that is said."""

from __future__ import annotations

import json
from datetime import date

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from click.testing import CliRunner

from agents.producer import Record
from agents.settings import Settings
from lampit import control
from lampit.cli import lampit
from stream.partials import HeadRecord

pytestmark = pytest.mark.usefixtures("broker_down")


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What is appended to the ledger."""
    records: list[Record] = []

    async def identity(settings: Settings) -> None:
        """One that fits."""

    async def append(settings: Settings, found: list[Record]) -> None:
        records.extend(found)

    monkeypatch.setenv("LAMPIT_PARTITIONS", "2")
    monkeypatch.setattr(control, "_identity", identity)
    monkeypatch.setattr(control, "_append", append)
    return records


def heads_of(monkeypatch: pytest.MonkeyPatch, *days: str) -> None:
    """Of the partitions, the days that their heads tell."""

    async def newest_heads(settings: Settings) -> dict[int, HeadRecord]:
        if not days:
            raise TopicAuthorizationFailedError
        return {number: HeadRecord(number, 1, 8, date.fromisoformat(day)) for number, day in enumerate(days)}

    monkeypatch.setattr(control, "newest_heads", newest_heads)


def said(*arguments: str) -> str:
    done = CliRunner().invoke(lampit, ["day", *arguments])
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("day", ["2024-03-01", "2024-02-29"])
def test_a_day_that_all_have_reached_is_not_appended(
    monkeypatch: pytest.MonkeyPatch, appended: list[Record], day: str
) -> None:
    heads_of(monkeypatch, "2024-03-02", "2024-03-01")
    assert said(day) == "business day already at 2024-03-01: nothing appended\n"
    assert json.loads(said(day, "--json")) == {"day": "2024-03-01", "partitions": 2, "appended": False}
    assert appended == []


@pytest.mark.parametrize("days", [("2024-03-01", "2024-02-29"), ("2024-03-01",), ()])
def test_a_day_that_one_has_not_reached_is_appended_to_all(
    monkeypatch: pytest.MonkeyPatch, appended: list[Record], days: tuple[str, ...]
) -> None:
    """One is behind, or has not told; or this user may not read what they tell."""
    heads_of(monkeypatch, *days)
    assert json.loads(said("2024-03-01", "--json")) == {"day": "2024-03-01", "partitions": 2, "appended": True}
    assert [record.partition for record in appended] == [0, 1]
