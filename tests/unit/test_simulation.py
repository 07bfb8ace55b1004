"""The simulation of `tests/simulation` in short: some seeds, the same seed twice, and the moments it found, by hand.

`make simulate` runs thousands. The command runs in a process of its own, since a seed is only the same under one hash seed.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from faust.types import TP

from agents.driver import Fetch
from agents.health import LATE_SECONDS
from agents.topics import INTAKE_TOPICS, LEDGER, PARTIALS
from tests.brokers import ROOT
from tests.simulation import judge
from tests.simulation.broker import timestamp
from tests.simulation.faults import Faults
from tests.simulation.loop import Loop, Trace
from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import NAMES, World

SEEDS = 10
ALMOST_LATE = LATE_SECONDS - 2.0
"""Logs are looked at once a second, and what is looked at takes its time."""


def simulate(*options: str) -> dict[str, Any]:
    """What the command says; the test fails with it where it found something."""
    command = [sys.executable, "-m", "tests.simulation", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_some_seeds_come_to_what_the_count_says_and_a_seed_is_the_same_twice() -> None:
    found = simulate("--seeds", str(SEEDS))["seeds"]
    assert [one["seed"] for one in found] == list(range(1, SEEDS + 1))
    assert sum(one["lives"] for one in found) > SEEDS * len(NAMES)  # some were ended and started again
    again = simulate("--first-seed", str(SEEDS), "--seeds", "1")["seeds"]
    assert again == found[-1:]
    assert len({one["trace"] for one in found}) == SEEDS


@contextmanager
def at_rest(folder: Path) -> Iterator[World]:
    """A world in fair weather that has counted everything."""
    world = World(7, folder, faults=Faults.none())
    with world.installed():
        world.schedule()
        world.calm_down()
        for name in NAMES:
            world.start(name)
        wait(world)
        yield world


def wait(world: World, day: int = -2) -> None:
    """Until everything is counted; fails after 300 virtual seconds."""
    until = world.loop.now + 300.0
    while (missing := judge.at_rest(world, day)) is not None:
        assert world.loop.now < until, missing
        world.run_until(world.loop.now + 0.5)


def restart(world: World) -> None:
    """End every process, and start it again."""
    for name in NAMES:
        world._end(world.running[name], None)
    world.run_until(world.loop.now + 30.0)


def test_an_aborted_transaction_at_the_end_of_the_log_does_not_hold_up_a_takeover(tmp_path: Path) -> None:
    """Its marker comes as no fetch: who took over waited for the offset behind it, and published and showed nothing."""
    with at_rest(tmp_path) as world:
        for topic in (LEDGER, PARTIALS):
            for tp in world.broker.partitions(topic):
                world.broker.logs[tp].append([(b"key", b"never to be seen")], 0, producer=999, transactional=True)
                world.broker.logs[tp].end(999, "aborted")
        restart(world)
        wait(world)
        world.turn_last_day()
        wait(world, -1)
        assert judge.findings(world) == []


def test_a_rollup_that_lags_says_so_and_one_with_nothing_to_do_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its polls bring nothing, while the ledger goes on: what it shows is of before."""

    async def nothing(_: int) -> list[Fetch]:
        return []

    with at_rest(tmp_path) as world:
        world.run_until(world.loop.now + 2 * LATE_SECONDS)
        assert judge.at_rest(world, -2) is None, "its newest record is old, but there is none after it"
        apps = [world.apps[world.running[name]] for name in NAMES if name.startswith("rollup")]
        (active,) = [app for app in apps if app.health.ready]
        with monkeypatch.context() as patched:
            patched.setattr(active.consumer._thread, "fetch", nothing)
            world.turn_last_day()
            world.run_until(world.loop.now + ALMOST_LATE)
            assert active.health.ready, "what has come has its time"
            world.run_until(world.loop.now + 6.0)
        holds, why = active.health.conditions["caught_up"]
        assert not holds
        assert re.fullmatch(
            rf"figures are behind the log: [1-9]\d* records of {PARTIALS}-0 wait that were there \d\d s ago", why
        )
        wait(world, -1)
        assert active.health.ready


def test_a_ledger_worker_that_lags_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its polls bring nothing, while the log goes on: what it gave out is of before."""

    async def nothing(_: int) -> list[Fetch]:
        return []

    with at_rest(tmp_path) as world:
        apps = [world.apps[world.running[name]] for name in NAMES if name.startswith("ledger")]
        at_work = [app for app in apps if app.agent.desks]
        assert at_work
        assert all(app.health.ready for app in at_work)
        with monkeypatch.context() as patched:
            for app in at_work:
                patched.setattr(app.consumer._thread, "fetch", nothing)
            world.turn_last_day()
            world.run_until(world.loop.now + ALMOST_LATE)
            assert all(app.health.ready for app in at_work), (
                "what has come has its time, however old what came before it is"
            )
            world.run_until(world.loop.now + 6.0)
        for app in at_work:
            holds, why = app.health.conditions["caught_up"]
            assert not holds
            names = ", ".join(f"{LEDGER}-{number}" for number in sorted(app.agent.desks))
            assert re.fullmatch(rf"[1-9]\d* records of {names} wait that were there \d\d s ago", why)
        wait(world, -1)
        assert all(app.health.ready for app in at_work)


def test_a_rollup_whose_ledger_workers_are_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes to its own log then, and it was at the end of it."""
    with at_rest(tmp_path) as world:
        world.run_until(world.loop.now + 6.0)
        (active,) = [
            app for name in NAMES if name.startswith("rollup") and (app := world.apps[world.running[name]]).health.ready
        ]
        workers = [name for name in NAMES if name.startswith("ledger")]
        with monkeypatch.context() as patched:
            patched.setattr(world, "start", lambda _: None)
            for name in workers:
                world._end(world.running[name], None)
            world.run_until(world.loop.now + LATE_SECONDS)
            assert active.health.ready, "nothing has come that they could have counted"
            world.turn_last_day()
            world.run_until(world.loop.now + ALMOST_LATE)
            assert active.health.ready, "what has come has its time"
            world.run_until(world.loop.now + 6.0)
            holds, why = active.health.conditions["caught_up"]
            assert not holds
            assert re.match(rf"figures are behind the log: [1-9]\d* records of {LEDGER}-0", why)
        for name in workers:
            world.start(name)
        wait(world, -1)
        assert active.health.ready
        assert judge.findings(world) == []


@pytest.mark.parametrize("topic", [LEDGER, PARTIALS])
def test_what_a_frozen_worker_hides_in_its_transaction_is_missed(tmp_path: Path, topic: str) -> None:
    """Readers of committed records see nothing behind it: they were at the end of all they could see, and said ready."""
    with at_rest(tmp_path) as world:
        apps = [world.apps[world.running[name]] for name in NAMES if name.startswith(("ledger", "rollup"))]
        readers = [app for app in apps if app.consumer.done.keys() & set(world.broker.partitions(topic))]
        assert readers
        logs = [world.broker.logs[tp] for tp in world.broker.partitions(topic)]
        for log in logs:
            log.append([(b"key", b"never to be seen")], timestamp(world.loop.now), producer=999, transactional=True)
        world.turn_last_day()
        world.run_until(world.loop.now + ALMOST_LATE)
        assert all(app.health.ready for app in readers), "transactions are open for moments all the time"
        world.run_until(world.loop.now + 6.0)
        for app in readers:
            holds, why = app.health.conditions["caught_up"]
            assert not holds
            assert re.search(
                r"\d+ records of .* that were there \d\d s ago are hidden behind an open transaction$", why
            )
        for log in logs:
            log.end(999, "aborted")
        wait(world, -1)
        assert judge.findings(world) == []


def test_intake_with_a_long_backlog_is_not_ready_before_nothing_in_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as what was there when it last looked was done, all that had come meanwhile had half a minute, however old."""
    with at_rest(tmp_path) as world:
        topic = TopicPartition(*min(tp for tp in world.broker.logs if tp.topic in INTAKE_TOPICS))
        log = world.broker.logs[topic]
        apps = [world.apps[world.running[name]] for name in NAMES if name.startswith("intake")]
        (app,) = [one for one in apps if TP(*topic) in one.consumer.done]
        thread = app.consumer._thread
        really, hangs_until = thread.fetch, world.loop.now + 3 * LATE_SECONDS

        async def slowly(_: int) -> list[Fetch]:
            """None for a while, then three records in two seconds."""
            await asyncio.sleep(0.66)
            return [] if world.loop.now < hangs_until else await really(1)

        monkeypatch.setattr(thread, "fetch", slowly)
        for second in range(400):
            world.loop.at(float(second), lambda: log.append([(b"any", None)], timestamp(world.loop.now)))
        began = world.loop.now
        world.run_until(hangs_until)
        assert not app.health.ready
        while not app.health.ready:
            assert world.loop.now < began + 400.0
            world.run_until(world.loop.now + 1.0)
        world.run_until(began + 400.0)
        assert app.health.ready
        assert world.defects == []


def test_sets_of_tasks_are_gone_through_in_the_same_order_whatever_else_lies_in_memory() -> None:
    """By address, an agent that gives up several tasks did it in another order where its modules had just been compiled."""

    def order(objects_between: int) -> list[int]:
        loop = Loop(Random(1), Trace())
        futures, kept = [], []
        for _ in range(20):
            kept += [object() for _ in range(objects_between)]
            futures.append(loop.create_future())
        return [futures.index(one) for one in set(futures)]

    assert order(0) == order(1) == order(7) != sorted(order(0))


def test_a_process_that_ends_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    """The simulation itself: what a dead process would have done on its way out is not done."""
    with at_rest(tmp_path) as world:
        before = {tp: log.end_offset for tp, log in world.broker.logs.items()}
        for name in NAMES:
            world.loop.end(world.running[name])
        world.loop.on_end = lambda owner: None
        assert all(not world.running[name].ready for name in NAMES)
        world.loop.close()
        assert {tp: log.end_offset for tp, log in world.broker.logs.items()} == before


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_of_a_fault_stands_in_its_file_once(mutation: Any) -> None:
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert source.count(mutation.text) == 1
    compile(source.replace(mutation.text, mutation.replacement), mutation.file, "exec")


def test_a_process_whose_broker_is_silent_does_not_go_on_saying_that_it_is_ready(tmp_path: Path) -> None:
    """It waits for an answer before it measures again, and figures grow old meanwhile."""
    with at_rest(tmp_path) as world:
        processes = [world.running[name] for name in NAMES if name.startswith(("ledger", "rollup"))]
        ready = [world.apps[one] for one in processes if world.apps[one].health.ready]
        assert len(ready) == 3
        world.network.weather.outage_until = world.loop.now + 2 * LATE_SECONDS
        world.turn_last_day()
        world.run_until(world.loop.now + LATE_SECONDS + 5.0)
        assert [app.health.as_json() for app in ready if app.health.ready] == []
        wait(world, -1)
        assert judge.findings(world) == []
