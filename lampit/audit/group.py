"""`lampit audit`: the table of its subcommands, each in a module of its own.

In: the command line. Out: the exit code of a subcommand. Nothing is done here.
"""

from __future__ import annotations

from typing import ClassVar, Final

import click

from lampit.lazy import Entry, LazyGroup

COMMANDS: Final[dict[str, Entry]] = {
    "coverage": Entry("lampit.audit.coverage", "command", "Figures of a day, as known now or as known at an instant."),
    "explain": Entry("lampit.audit.explain", "command", "Why a figure changed: every event that moved it."),
    "index": Entry("lampit.audit.index", "command", "Turn an archive round, so that explain answers at once."),
    "reconcile": Entry("lampit.audit.reconcile", "command", "Figures from elsewhere against ours and each other."),
    "verify": Entry("lampit.audit.verify", "command", "Prove that the archive is complete, unaltered and agrees."),
    "prove": Entry("lampit.audit.prove", "prove", "Prove one record or head to somebody who has no archive."),
    "heads": Entry("lampit.audit.prove", "heads_command", "Print the signed heads, for whoever keeps them."),
    "keygen": Entry("lampit.audit.keygen", "command", "Make the key that signs the archive's daily heads."),
}


class Audit(LazyGroup):
    """The subcommands of the table."""

    entries: ClassVar[dict[str, Entry]] = COMMANDS


@click.group(cls=Audit, epilog="`lampit audit COMMAND --help` shows the options of a command, with an example.")
def audit() -> None:
    """Prove the figures, explain them, compare them: for auditors who trust nobody.

    \b
    Example:
      lampit audit verify --archive /srv/lampit/archive

    Exit codes: 0 ok, 1 found a problem, 2 wrong usage.
    """
