"""The `lampit` command: its subcommands, and what becomes of their errors.

In: the command line. Out: an exit code: 0 ok, 1 found a problem, 2 wrong usage. Every subcommand is a click command in
the module that does its work, imported only when it is asked for: `lampit --help` starts at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final

import click

from agents.errors import ConfigurationError, LampitError
from lampit import __version__, core, newer_than_compiled
from lampit.lazy import Entry, LazyGroup

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

EXIT_PROBLEM: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
STANDARD_OUTPUT: Final = 1


COMMANDS: Final[dict[str, Entry]] = {
    "count": Entry("lampit.count", "command", "Count event files: figures of every region on a day, without Kafka."),
    "report": Entry("lampit.report", "command", "The monthly lampit report of a region, from files or from Kafka."),
    "publish": Entry("lampit.publish", "command", "Send event files to the intake topics, resumable."),
    "run": Entry("lampit.run", "command", "Run the agents against Kafka: intake, ledger, rollup, archive or all."),
    "demo": Entry("lampit.demo", "demo", "Show Lampit at work on this machine, with made-up events."),
    "doctor": Entry("lampit.doctor", "command", "Say what is wrong with an installation, and what to do about it."),
    "day": Entry("lampit.control", "day", "Turn the business day of a ledger that does not follow the clock."),
    "epoch": Entry("lampit.control", "epoch", "Begin a new epoch with the settings in force."),
    "replay": Entry("lampit.replay", "command", "Fill a fresh cluster, or a file, from the archive."),
    "rotate": Entry("lampit.rotate", "command", "Rewrite an archived ledger under a newer pseudonym key."),
    "audit": Entry("lampit.audit.group", "audit", "Prove the figures, explain them, compare them with others."),
}


class Failure(click.ClickException):
    """One sentence for the user, and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        """`message` is shown as it is."""
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """The sentence, on standard error."""
        click.echo(self.message, err=True)


class StandardOutput(io.FileIO):
    """Standard output, of which what goes wrong is told from what goes wrong with any other file."""

    def __init__(self) -> None:
        """Of the process, left open."""
        super().__init__(STANDARD_OUTPUT, "w", closefd=False)
        self._is_told = False

    def write(self, content: ReadableBuffer, /) -> int:
        """Raises Failure, once: what is still buffered is not tried again when the process ends."""
        if self._is_told:
            return memoryview(content).nbytes
        try:
            return super().write(content)
        except BrokenPipeError:
            raise  # a reader that has enough is no failure; click ends quietly
        except OSError as error:
            self._is_told = True
            reason = os.strerror(error.errno or errno.EIO)
            raise Failure(f"Standard output cannot be written ({reason}).", EXIT_USAGE) from None


class Lampit(LazyGroup):
    """The subcommands of the table, and what becomes of their errors."""

    entries: ClassVar[dict[str, Entry]] = COMMANDS

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and turn errors into a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise Failure(str(error), EXIT_USAGE) from error
        except LampitError as error:
            raise Failure(str(error), EXIT_PROBLEM) from error
        except KeyboardInterrupt:
            raise Failure("Interrupted.", EXIT_INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            # The message of a foreign exception can quote a record; describe() leaves such messages out.
            from agents.logs import describe

            raise Failure(f"Ended by an unexpected error: {describe(error)}", EXIT_PROBLEM) from error


@click.group(
    cls=Lampit,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`lampit COMMAND --help` shows the options of a command, with an example.",
)
@click.version_option(__version__, "--version", prog_name="lampit", message=f"%(prog)s %(version)s, core {core()}")
def lampit() -> None:
    """Live e-KTP recording coverage: births, deaths, moves and recordings in, exact figures per region out.

    \b
    Example:
      lampit count events.jsonl --as-of 2019-03-28

    Exit codes: 0 ok, 1 found a problem, 2 wrong usage.
    """
    if newer := newer_than_compiled():
        raise Failure(
            f"The compiled core is older than {newer[0]}: compile it again (make compile), or go without (make interpreted).",
            EXIT_USAGE,
        )


def guard_standard_output() -> None:
    """Let writing to standard output fail in one sentence, whatever command writes, and however.

    One that was closed fails too, once something is written: Python would leave it out, and the command would seem to have
    said what it has to say.
    """
    before = sys.__stdout__
    if before is None:
        # Or the next file that is opened, a store's perhaps, would take its place. Nothing can be written to this one.
        nothing = os.open(os.devnull, os.O_RDONLY)
        if nothing != STANDARD_OUTPUT:
            os.dup2(nothing, STANDARD_OUTPUT)
            os.close(nothing)
        os.set_inheritable(STANDARD_OUTPUT, True)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(StandardOutput()),
        encoding=before.encoding if before is not None else "utf-8",
        errors=before.errors if before is not None else None,
        line_buffering=before is not None and before.line_buffering,
        write_through=before is not None and before.write_through,
    )


def main() -> None:
    """The entry point."""
    guard_standard_output()
    lampit(prog_name="lampit")


if __name__ == "__main__":
    main()
