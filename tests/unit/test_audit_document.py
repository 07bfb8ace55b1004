"""docs/audit.md: every command in it is run, and prints what the page says it prints.

`python -m tests.unit.test_audit_document` writes the outputs anew.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from lampit.cli import lampit

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "audit.md"
_BLOCK: Final = re.compile(r"(?:<!-- exit code ([0-9]+) -->\n)?```console\n\$ lampit (.*)\n((?:.*\n)*?)```\n")


def examples() -> Iterator[tuple[str, str, int]]:
    """(arguments, output, exit code) of each command."""
    for code, arguments, output in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        yield arguments, output, int(code or 0)


def run(arguments: str) -> tuple[str, int]:
    """What the command prints, line ends without blanks, and its exit code; `| python …` is a program that reads it."""
    arguments, _, reader = arguments.partition(" | python ")
    result = CliRunner().invoke(lampit, shlex.split(arguments))
    output, code = result.output, result.exit_code
    if reader and not code:
        command = [sys.executable, *shlex.split(reader)]
        done = subprocess.run(command, cwd=ROOT, input=output, capture_output=True, text=True, check=False, timeout=100)
        output, code = done.stdout + done.stderr, done.returncode
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines()), code


@pytest.mark.parametrize(("arguments", "output", "code"), list(examples()), ids=lambda value: str(value)[:60])
def test_the_page_says_what_happens(arguments: str, output: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run(arguments) == (output, code)


def test_the_page_has_examples_of_every_command_it_explains() -> None:
    told = {arguments.split()[1] for arguments, _, _ in examples()}
    assert {"coverage", "explain", "reconcile", "verify", "prove"} <= told


def test_the_page_ends_in_proofs_that_are_checked_without_our_code() -> None:
    checked = [output for arguments, output, _ in examples() if "| python docs/examples/check_proof.py" in arguments]
    assert len(checked) == 2 and all(output.startswith("PROVED: ") for output in checked)


if __name__ == "__main__":
    PAGE.write_text(
        _BLOCK.sub(
            lambda found: found[0].replace(
                found[0][found[0].index("$ lampit") :], f"$ lampit {found[2]}\n{run(found[2])[0]}```\n"
            ),
            PAGE.read_text(encoding="utf-8"),
        ),
        encoding="utf-8",
    )
