"""The command itself: help, exit codes, and that it starts quickly."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agents.barrier import today
from agents.errors import ConfigurationError, LostWrite
from lampit import __version__, cli, core
from tests.rights import as_somebody_else, closed_folder

ROOT = Path(__file__).resolve().parents[2]
NIK = "1605024203190001"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter with this repository's packages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )


def shell(words: str) -> subprocess.CompletedProcess[str]:
    """The command in a shell, without anything on standard input."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    return subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m lampit {words}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )


def imported_by(*arguments: str) -> set[str]:
    """The top-level modules that a run of the command imports."""
    script = (
        "import json, sys\nfrom lampit.cli import lampit\n"
        f"try:\n lampit({list(arguments)!r}, prog_name='lampit')\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    run = python("-c", script)
    assert run.returncode == 0, run.stderr
    modules: list[str] = json.loads(run.stdout.splitlines()[-1])
    return set(modules)


def test_help_lists_every_command_without_importing_it() -> None:
    modules = imported_by("--help")
    assert "click" in modules
    assert not modules & {"pydantic", "msgspec", "faust", "kafka", "aiokafka", "duckdb", "rich"}


def test_count_imports_no_kafka_and_no_second_engine(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_bytes(b"")
    modules = imported_by("count", str(tmp_path / "none.jsonl"), "--as-of", "2019-03-28")
    assert "pydantic" in modules
    assert not modules & {"faust", "kafka", "aiokafka", "duckdb", "rocksdict", "rich", "uvloop"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    help_text = CliRunner().invoke(cli.lampit, [name, "--help"]).output
    assert "Example" in help_text
    assert f"lampit {name}" in help_text
    assert cli.COMMANDS[name].help in CliRunner().invoke(cli.lampit, ["--help"]).output


def commands(of: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its name."""
    if not isinstance(of, click.Group):
        yield name.strip(), of
        return
    context = click.Context(of)
    for word in of.list_commands(context):
        inner = of.get_command(context, word)
        assert inner is not None
        yield from commands(inner, f"{name} {word}")


def test_every_command_that_prints_does_so_for_programs_too() -> None:
    without = {
        name
        for name, command in commands(cli.lampit)
        if "--json" not in [word for one in command.params for word in one.opts]
    }
    assert without == {"run"}, "it only logs"


def test_version() -> None:
    run = python("-m", "lampit", "--version")
    assert (run.returncode, run.stdout) == (0, f"lampit {__version__}, core {core()}\n")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["count"], ["count", "f", "--as-of", "28 March"], ["run", "nothing"]]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli.lampit, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (ConfigurationError("LAMPIT_X does not fit: set Y."), 2, "LAMPIT_X does not fit: set Y.\n"),
        (LostWrite("not acknowledged"), 1, "not acknowledged\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_an_error_is_one_sentence_and_a_code(error: BaseException, exit_code: int, message: str) -> None:
    result = CliRunner().invoke(failing_with(error), ["fail"])
    assert result.exit_code == exit_code
    assert result.stderr == message


@pytest.mark.parametrize("arguments", ["--help", "count - --as-of 2019-03-28", "audit heads --archive {archive}"])
@pytest.mark.parametrize(
    ("output", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_standard_output_that_cannot_be_written_is_one_sentence(arguments: str, output: str, reason: str) -> None:
    run = shell(f"{arguments.format(archive=ROOT / 'docs' / 'examples' / 'archive')} {output}")
    assert (run.returncode, run.stderr) == (2, f"Standard output cannot be written ({reason}).\n")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_gets_every_figure_and_code_whole(columns: int, tmp_path: Path) -> None:
    balance = {"population": 266_543_210, "obliged": 196_391_234, "recorded": 194_645_678}
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/siak",
        "type": "lampit.opening_balance.v1",
        "time": "2019-03-01T09:00:00+07:00",
        "data": {"region": "ID", "occurred_on": "2019-03-01", "counts": balance},
    }
    (tmp_path / "events.jsonl").write_text(json.dumps(event))
    shown = on_terminal(columns, "count", str(tmp_path / "events.jsonl"), "--as-of", "2019-03-28", "--region", "ID")
    for text in ("Indonesia", "266,543,210", "196,391,234", "194,645,678", "population", "unrecorded"):
        assert text in shown
    assert "…" not in shown
    assert ("─" in shown) == (columns == 200), "a box where there is room for one"


def test_what_looks_like_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    """An id is the producer's own text; rich took brackets out of it, or ended at them."""
    event = {
        "specversion": "1.0",
        "id": "[bold]7[/] :cat:",
        "source": "/siak",
        "type": "lampit.birth.v1",
        "time": "2019-03-05T09:00:00+07:00",
        "data": {"nik": "1605024203190001", "region": "16.05.02.2001", "occurred_on": "2019-03-02", "sex": "F"},
    }
    (tmp_path / "events.jsonl").write_text(json.dumps(event))
    period = ("--from", "2019-03-01", "--to", "2019-03-28")
    shown = on_terminal(200, "audit", "explain", "16.05.02.2001", *period, str(tmp_path / "events.jsonl"))
    assert "─" in shown and "birth /siak [bold]7[/] :cat:" in shown


def on_terminal(columns: int, *arguments: str) -> str:
    """What the command writes to a terminal of a width."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    hidden = ("COLUMNS", "LINES", "LAMPIT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    command = [sys.executable, "-m", "lampit", *arguments]
    run = subprocess.Popen(command, stdout=there, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment)
    os.close(there)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that its last writer has gone
        while piece := os.read(here, 65_536):
            shown += piece
    os.close(here)
    assert run.wait() == 0
    return shown.decode()


@pytest.mark.parametrize(
    "words",
    [
        "count {}/e.jsonl --as-of 2019-03-28",
        "audit coverage --as-of 2019-03-28 {}/e.jsonl",
        "audit explain ID --from 2019-02-28 --to 2019-03-28 {}/e.jsonl",
        "audit verify --archive {}/archive",
        "audit index docs/examples/archive {}/index.duckdb",
        "audit keygen {}/archive.key",
        "replay --archive docs/examples/archive --output {}/ledger.jsonl",
        "report ID --period 2019-03 tests/scenarios/cases/exact-redelivery/events.jsonl --output {}/march.csv",
    ],
)
def test_what_this_user_may_not_see_is_one_sentence(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether something is there cannot be told then, which Python says in another way than that nothing is."""
    monkeypatch.chdir(ROOT)
    with closed_folder() as folder:
        arguments = words.format(folder).split()
        CliRunner().invoke(cli.lampit, arguments)  # imports what it needs
        for made in folder.iterdir():
            made.unlink()  # by root, whom nothing keeps out
        with as_somebody_else():
            told = CliRunner().invoke(cli.lampit, arguments)
    assert "Permission denied" in told.output and "unexpected" not in told.output
    assert told.exit_code == 2


def test_day_is_asked_for_by_its_name() -> None:
    assert "[OPTIONS] DAY\n" in CliRunner().invoke(cli.lampit, ["day", "--help"]).output
    refused = CliRunner().invoke(cli.lampit, ["day", "2019-02-30"])
    assert refused.exit_code == 2
    assert "'2019-02-30' is not a day of the calendar written YYYY-MM-DD." in refused.stderr


def test_a_day_that_the_workers_would_refuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was appended, and told as done; the ledger workers passed over it."""
    this_day = today()
    monkeypatch.setattr("lampit.control.today", lambda: this_day)  # at midnight the command's would be another
    far = (this_day + timedelta(days=2)).isoformat()
    refused = CliRunner().invoke(cli.lampit, ["day", far])
    assert refused.exit_code == 2
    assert f"Invalid value for DAY: {far} is more than a day ahead of this machine's clock" in refused.stderr


def test_what_writes_nothing_needs_no_standard_output() -> None:
    """And what is written goes where it did: a reader that has enough is no failure."""
    run = shell("audit index >&-")
    assert run.returncode == 2 and "Missing argument" in run.stderr
    run = shell("--help | head -n 1")
    assert (run.stdout, run.stderr) == ("Usage: lampit [OPTIONS] COMMAND [ARGS]...\n", "")


def test_an_unexpected_error_is_told_without_what_it_quotes() -> None:
    result = CliRunner().invoke(failing_with(ValueError(f"cannot read {NIK}")), ["fail"])
    assert result.exit_code == 1
    assert "ValueError" in result.stderr
    assert NIK not in result.stderr


def failing_with(error: BaseException) -> click.Group:
    """The command with one subcommand, which fails."""

    class Failing(cli.Lampit):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            def fail() -> None:
                raise error

            return click.Command("fail", callback=fail)

    return Failing(name="lampit")
