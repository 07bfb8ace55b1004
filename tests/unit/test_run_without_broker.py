"""`lampit run` when nobody answers: at a first start a setting may be wrong, after a restart somebody is away.

No broker is needed: the first run of the supervised agent is played, every later one is the command's own, which finds nobody.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agents.archive import place_of
from agents.settings import load_settings
from agents.signing import make_key
from agents.topics import ensure_topics
from lampit import run
from lampit.cli import lampit

WAIT_SECONDS = 150.0

AGENT = """#!{python}
import os, sys
from functools import partial
from pathlib import Path

log = Path({log!r})
with log.open("a") as lines:
    print(*sys.argv[1:], file=lines)
if {dies_first} and len(log.read_text().splitlines()) == 1:
    sys.exit(1)  # as an agent does whose broker went away
from agents import barrier
from agents.topics import ensure_topics

barrier.ensure_topics = partial(ensure_topics, broker_seconds_max=0.1)
from lampit.cli import lampit

lampit(sys.argv[3:])
"""


@pytest.fixture(autouse=True)
def _looked_for_briefly(broker_down: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor hands the settings on to its agents."""
    monkeypatch.setattr("agents.barrier.ensure_topics", partial(ensure_topics, broker_seconds_max=0.1))
    monkeypatch.setattr("agents.connection.TELL_AFTER_SECONDS", 3600.0)  # its line is for who waits long


def supervised(
    monkeypatch: pytest.MonkeyPatch, folder: Path, runs_max: int, *, dies_first: bool
) -> tuple[int, list[str]]:
    """What comes of supervising intake, asked to stop after so many runs; and the arguments of each run."""
    program, log = folder / "agent", folder / "runs"
    program.write_text(AGENT.format(python=sys.executable, log=str(log), dies_first=dies_first))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(run, "RESTART_SECONDS_MIN", 0.01)

    async def supervise() -> int:
        stop = asyncio.Event()
        agent = run.Supervised(0, load_settings(), stop)
        run_once = agent._run_once

        async def counted() -> int:
            code = await run_once()
            if len(log.read_text().splitlines()) >= runs_max:
                stop.set()
            return code

        monkeypatch.setattr(agent, "_run_once", counted)
        return await asyncio.wait_for(agent.keep_running(), WAIT_SECONDS)

    return asyncio.run(supervise()), log.read_text().splitlines()


def test_an_agent_whose_broker_went_away_is_started_again_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before, the first restart that found no broker ended everything, with exit code 2."""
    code, runs = supervised(monkeypatch, tmp_path, 3, dies_first=True)
    assert (code, len(runs)) == (0, 3)
    assert [line.split() for line in runs] == [
        ["-m", "lampit", "run", "intake"],
        *[["-m", "lampit", "run", "--again", "intake"]] * 2,
    ]


def test_a_first_start_without_a_broker_ends_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert supervised(monkeypatch, tmp_path, 2, dies_first=False) == (2, ["-m lampit run intake"])


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--again",), 1)])
def test_no_broker_is_told_in_one_sentence_at_any_start(arguments: tuple[str, ...], code: int) -> None:
    told = CliRunner().invoke(lampit, ["run", *arguments, "intake"])
    assert told.exit_code == code
    assert told.output.startswith("No Kafka broker answers at ") and told.output.count("\n") == 1


def test_settings_that_do_not_fit_do_not_after_a_restart_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPIT_PARTITIONS", "none")
    assert CliRunner().invoke(lampit, ["run", "--again", "intake"]).exit_code == 2


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--again",), 1)])
def test_an_archive_that_cannot_be_written_is_told_before_its_first_segment(
    arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder below a file cannot be made by root either."""
    make_key(tmp_path / "archive.key", tmp_path / "archive.key.pub")
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive.key" / "archive"))
    told = CliRunner().invoke(lampit, ["run", *arguments, "archive"])
    assert told.exit_code == code
    assert told.output == (
        "LAMPIT_ARCHIVE_URL cannot be written (Not a directory): name a directory that this user may write.\n"
    )


def test_nothing_is_left_in_an_archive_that_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_key(tmp_path / "archive.key", tmp_path / "archive.key.pub")
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    before = sorted(tmp_path.iterdir())
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", str(tmp_path / "archive"))
    place_of(load_settings())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--again",), 1)])
def test_an_archive_that_cannot_be_reached_was_reached_before_a_restart(
    arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(url: str) -> Any:
        raise OSError("When resolving region for bucket: AWS Error NETWORK_CONNECTION")

    make_key(tmp_path / "archive.key", tmp_path / "archive.key.pub")
    monkeypatch.setenv("LAMPIT_ARCHIVE_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.setenv("LAMPIT_ARCHIVE_URL", "s3://bucket/archive")
    monkeypatch.setattr("agents.archive_files._resolve", away)
    told = CliRunner().invoke(lampit, ["run", *arguments, "archive"])
    assert told.exit_code == code
    assert told.output.startswith("LAMPIT_ARCHIVE_URL cannot be reached (NETWORK_CONNECTION)")
