"""Two processes of one kind never share a data directory, and a killed one keeps nobody out."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from agents.data_dir import sole_use
from agents.errors import ConfigurationError
from lampit.cli import lampit
from tests.brokers import ROOT

HOLDER = """
import subprocess, sys
from pathlib import Path
from agents.data_dir import sole_use

with sole_use(Path(sys.argv[1]), "ledger", 0.0):
    print(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, close_fds=False).pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("role", ["ledger", "rollup", "all"])
def test_a_second_process_of_a_role_is_refused_before_it_asks_a_broker(
    role: str, broker_down: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ledger workers counted other partitions each in one directory: only a store's own lock stopped one."""
    monkeypatch.setenv("LAMPIT_SHUTDOWN_SECONDS", "1")
    monkeypatch.setattr("lampit.run.KILL_AFTER_SECONDS", -1.0)
    with sole_use(tmp_path / "data", role, 0.0):
        refused = CliRunner().invoke(lampit, ["run", role])
    assert refused.exit_code == 2
    assert refused.output.endswith(
        f"LAMPIT_DATA_DIR is in use by another `lampit run {role}`: give each a directory of its own, or end the other one.\n"
    )


def test_another_role_or_the_next_one_is_not_refused(tmp_path: Path) -> None:
    with sole_use(tmp_path, "ledger", 0.0), sole_use(tmp_path, "intake", 0.0):
        pass
    with sole_use(tmp_path, "ledger", 0.0):
        pass


def test_one_that_is_about_to_stop_is_waited_for(tmp_path: Path) -> None:
    """The agents of a killed `run all` have their time to stop in, while the next one starts its own."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        os.kill(int(holder.stdout.readline()), signal.SIGKILL)
        stops = threading.Event()

        def stop(ending: IO[str] = holder.stdin) -> None:
            stops.set()
            ending.close()

        threading.Timer(0.3, stop).start()
        with sole_use(tmp_path, "ledger", 30.0):
            assert stops.is_set()


def test_a_killed_process_keeps_nobody_out_nor_do_its_children(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(ConfigurationError), sole_use(tmp_path, "ledger", 0.0):
                pass
            holder.kill()
            holder.wait()
            with sole_use(tmp_path, "ledger", 0.0):
                os.kill(child, 0)  # it is there still
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with sole_use(tmp_path, "ledger", 0.0), sole_use(tmp_path, "ledger", 0.0):
        pass


def test_a_directory_without_room_for_a_lock_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.lock").mkdir()
    refusal = r"LAMPIT_DATA_DIR cannot be used \(Is a directory\)"
    with pytest.raises(ConfigurationError, match=refusal), sole_use(tmp_path, "ledger", 0.0):
        pass
