"""What a check of `lampit doctor` says, and how it is shown.

In: findings. Out: lines for people, an object for programs, an exit code. Called by the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import click

Status = Literal["ok", "warning", "problem"]

_COLOURS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}


class Finding(NamedTuple):
    """One thing looked at. saw: what is there, in one line; todo: what to do about it, "" where nothing is to be done."""

    check: str
    status: Status
    saw: str
    todo: str = ""


def ok(check: str, saw: str) -> Finding:
    """As it has to be."""
    return Finding(check, "ok", saw)


def warning(check: str, saw: str, todo: str) -> Finding:
    """Lampit runs, but somebody should look."""
    return Finding(check, "warning", saw, todo)


def problem(check: str, saw: str, todo: str) -> Finding:
    """Lampit does not start, does not go on, or its figures are in danger."""
    return Finding(check, "problem", saw, todo)


def refused(check: str, sentence: str) -> Finding:
    """A sentence with which a start would be refused: what is wrong, a colon, the remedy."""
    saw, _, todo = sentence.partition(": ")
    return problem(check, saw, todo)


def worst(findings: Sequence[Finding]) -> Status:
    """The status of all together."""
    found = {finding.status for finding in findings}
    return "problem" if "problem" in found else "warning" if "warning" in found else "ok"


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """What --json prints."""
    return {"status": worst(findings), "checks": [finding._asdict() for finding in findings]}


def show(findings: Sequence[Finding]) -> None:
    """The table; colours only on a terminal."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        status = click.style(f"{finding.status:<7}", fg=_COLOURS[finding.status])
        click.echo(f"{status}  {finding.check:<{width}}  {finding.saw}")
        if finding.todo:
            click.echo(f"{'':7}  {'':<{width}}  → {finding.todo}")
    counts = [sum(finding.status == status for finding in findings) for status in _COLOURS]
    click.echo(f"\n{counts[0]} ok, {counts[1]} to look at, {counts[2]} wrong")
