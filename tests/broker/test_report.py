"""`lampit report` from lampit.closings: the latest revision, or the one known by a day, of a region and those below it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner, Result

from agents.producer import Producer, Record
from agents.settings import load_settings
from agents.topics import CLOSINGS, ensure_topics
from lampit import reference
from lampit.audit import log
from lampit.broker import EmbeddedBroker
from lampit.cli import lampit
from stream.closing import revised
from stream.engine import Engine
from stream.periods import Periods
from stream.rules import Rules
from tests.brokers import Broker
from tests.counters import accept
from tests.scenario_files import load_scenarios

EVENTS = next(one.events for one in load_scenarios() if one.name == "musi-rawas-in-march")


def closed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The closings of March."""
    engine = Engine(Rules(), reference.load())
    for admitted in accept(events)[0]:
        engine.add(admitted.subject, admitted.event)
    return engine.closings(Periods.since("2019-03"), ["2019-03"])["2019-03"]


def report(broker: Broker, *arguments: str, region: str = "16") -> Result:
    return CliRunner().invoke(
        lampit,
        ["report", region, "--period", "2019-03", *arguments],
        env={"LAMPIT_BOOTSTRAP_SERVERS": broker.bootstrap_servers},
    )


def test_the_latest_revision_and_an_earlier_one(broker: Broker) -> None:
    """Published: the month without its death, then the revision with it; another month; records are checked when read."""
    without = [event for event in EVENTS if event["type"] != "lampit.death.v1"]
    first = [{**record, "known_day": "2019-03-28", "epoch": 1, "position": {"0": 9}} for record in closed(without)]
    by_region = {record["region"]: record for record in first}
    second = [
        {**revision, "known_day": "2019-04-02", "epoch": 1, "position": {"0": 10}}
        for record in closed(EVENTS)
        if (revision := revised(record, by_region[record["region"]])) is not None
    ]
    assert {record["region"] for record in second} >= {"16", "16.05", "ID"}
    settings = load_settings(bootstrap_servers=broker.bootstrap_servers, transactions=broker.transactions)

    async def publish(records: list[dict[str, Any]]) -> None:
        async with Producer(settings, name="closings") as producer:
            await producer.send_all(
                [
                    Record(
                        CLOSINGS,
                        0,
                        f"{record['region']}|{record['period']}|{record['known_day']}".encode(),
                        json.dumps(record).encode(),
                    )
                    for record in records
                ]
            )

    missing = report(broker)
    assert (missing.exit_code, "no topic lampit.closings" in missing.stderr) == (1, True)
    ensure_topics(settings)
    nothing = report(broker)
    assert nothing.exit_code == 1
    assert nothing.stderr.startswith("lampit.closings holds no month yet: ")
    asyncio.run(publish(first))
    asyncio.run(publish(second))

    latest = report(broker, "--json", "--children")
    assert latest.exit_code == 0, latest.output
    said = json.loads(latest.stdout)
    assert [(one["region"], one["revision"]) for one in said["closings"]] == [("16", 1), ("16.05", 1), ("16.09", 0)]
    assert said["closings"][0]["by_report_date"]["flows"]["deaths"]["total"] == 1
    assert said["delays"] is None
    earlier = json.loads(report(broker, "--json", "--known-day", "2019-04-01").stdout)["closings"]
    assert [(one["region"], one["revision"]) for one in earlier] == [("16", 0)]
    assert earlier[0]["by_report_date"]["flows"]["deaths"]["total"] == 0
    assert "by the end of 2019-03-27" in report(broker, "--known-day", "2019-03-27").stderr
    other_month = report(broker, "--period", "2019-04").stderr
    assert other_month.startswith("2019-04 of 16 is not on lampit.closings, which holds 2019-03 of it: ")
    other_region = report(broker, region="17")
    assert other_region.exit_code == 1
    assert other_region.stderr.startswith(
        f"lampit.closings holds no month of 17: check the code; it has {len(first)} other"
    )
    table = report(broker).stdout
    assert "as known at the end of 2019-04-02, revision 1" in table
    shown = table.split("Changed since revision 0")[1].splitlines()[1:]
    assert [line.split()[-4:] for line in shown[:2]] == [["+1", "0", "0", "+1"], ["–", "–", "–", "-1"]]
    assert ["Deaths" in shown[0], "Population on 2019-03-28" in shown[1]] == [True, True]

    damaged = json.loads(json.dumps(second))
    for record in damaged:
        record["known_day"], record["revision"] = "2019-04-03", 2
        record["by_event_date"]["flows"]["births"]["total"] += 1
    asyncio.run(publish(damaged))
    refused = report(broker)
    assert refused.exit_code == 1
    assert "16 in 2019-03 by_event_date" in refused.stderr


def test_a_broker_that_goes_away_meanwhile_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records would never come; the command waited for them without end."""
    monkeypatch.setattr(log, "SILENCE_SECONDS_MAX", 0.5)
    with EmbeddedBroker() as process:
        broker = Broker("embedded", process.bootstrap_servers, transactions=False)
        settings = load_settings(bootstrap_servers=broker.bootstrap_servers, transactions=False)
        ensure_topics(settings)

        ask = AIOKafkaConsumer.end_offsets

        async def end_offsets(self: Any, partitions: Any) -> Any:
            """Something is said to be there that no fetch brings any more."""
            found = await ask(self, partitions)
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            return dict.fromkeys(found, 1)

        monkeypatch.setattr(AIOKafkaConsumer, "end_offsets", end_offsets)
        told = report(broker)
    assert told.exit_code == 2
    assert told.stderr.startswith("lampit.closings could not be read to its end from 127.0.0.1:")
