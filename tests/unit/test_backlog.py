"""Whether an agent keeps up."""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

from agents.backlog import Backlog
from agents.driver import Reached
from agents.health import LATE_SECONDS

ONE, OTHER = TP("lampit.intake.birth", 0), TP("lampit.intake.death", 0)
IN, OUT = 1_000, 1_500
"""Records in a second."""


def plain(done: int, end: int) -> Reached:
    """Of a log without an open transaction."""
    return Reached(done, end, end)


def why_not(backlog: Backlog, now: float, **reached: tuple[int, int]) -> str | None:
    """What it says at a moment of `one` and `other`, each as done and end."""
    partitions = {"one": ONE, "other": OTHER}
    found: Mapping[TP, Reached] = {partitions[name]: plain(*both) for name, both in reached.items()}
    return backlog.why_not(found, now, now)


def test_all_that_is_there_at_the_first_look_has_to_be_done() -> None:
    backlog = Backlog()
    assert why_not(backlog, 100.0, one=(5, 15), other=(0, 0)) == (
        "10 records of lampit.intake.birth-0 wait that were there 0 s ago"
    )
    assert why_not(backlog, 101.0, one=(14, 64), other=(0, 7)) == (
        "1 records of lampit.intake.birth-0 wait that were there 1 s ago"
    )
    assert why_not(backlog, 102.0, one=(15, 75), other=(0, 7)) is None


def test_what_comes_later_has_its_time_and_no_more() -> None:
    backlog = Backlog()
    assert why_not(backlog, 100.0, one=(5, 5)) is None
    for second in range(1, int(LATE_SECONDS) + 1):
        assert why_not(backlog, 100.0 + second, one=(5, 8 + second)) is None
    assert why_not(backlog, 101.0 + LATE_SECONDS, one=(8, 50)) == (
        f"1 records of lampit.intake.birth-0 wait that were there {LATE_SECONDS:.0f} s ago"
    )
    assert why_not(backlog, 102.0 + LATE_SECONDS, one=(10, 50)) is None
    assert why_not(backlog, 103.0 + LATE_SECONDS, one=(10, 50)) is not None, "each has its own time"


def test_a_long_backlog_is_behind_until_nothing_in_it_is_old() -> None:
    """Whenever what was there at a look was done, all that had come meanwhile had its time from then on, whatever its age."""
    backlog, said = Backlog(), []
    for second in range(2_000):
        end = 600_000 + IN * second
        done = min(OUT * second, end)
        said.append(why_not(backlog, float(second), one=(done, end)) is None)
        assert not said[-1] or end - done <= IN * LATE_SECONDS, "the oldest record that waits is older"
    first = said.index(True)
    assert all(said[first:])
    assert 600_000 + (IN - OUT) * (first - 1) > IN * (LATE_SECONDS - 2), "it is ready as soon as that is so"


def test_between_looks_that_are_far_apart_nothing_is_taken_for_new() -> None:
    backlog = Backlog()
    assert why_not(backlog, 100.0, one=(5, 5)) is None
    assert why_not(backlog, 101.0 + LATE_SECONDS, one=(5, 6)) is not None, "it may have come just behind the first look"
    assert why_not(backlog, 102.0 + LATE_SECONDS, one=(6, 7)) is None


def test_a_look_that_took_too_long_says_nothing() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: plain(5, 5)}, 100.0, 101.0 + LATE_SECONDS) == "the brokers took 31 s to answer"
    assert why_not(backlog, 140.0, one=(5, 5)) is None


def test_what_has_just_come_to_a_log_that_was_quiet_is_not_late() -> None:
    backlog = Backlog()
    for second in range(100):
        assert why_not(backlog, float(second), one=(5, 5)) is None
    assert why_not(backlog, 100.0, one=(5, 6)) is None


def test_what_is_hidden_behind_an_open_transaction_for_too_long_is_behind() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: plain(5, 5)}, 99.0, 99.0) is None
    for second in range(int(LATE_SECONDS)):
        now = 100.0 + second
        assert backlog.why_not({ONE: Reached(5, 5, 9 + second)}, now, now) is None
    now = 100.0 + LATE_SECONDS
    assert backlog.why_not({ONE: Reached(5, 5, 99)}, now, now) == (
        f"4 records of lampit.intake.birth-0 that were there {LATE_SECONDS:.0f} s ago are hidden behind an open transaction"
    )
    assert backlog.why_not({ONE: Reached(5, 7, 99)}, now, now) == (
        f"2 records of lampit.intake.birth-0 wait that were there {LATE_SECONDS:.0f} s ago"
    )
    assert backlog.why_not({ONE: plain(99, 99)}, now, now) is None


def test_transactions_that_end_in_time_are_no_reason() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: plain(0, 0)}, 0.0, 0.0) is None
    for second in range(1, 200):
        # There is always one open, never the same for long.
        assert backlog.why_not({ONE: Reached(5 * second, 5 * second, 5 * second + 9)}, second, second) is None


def test_many_partitions_are_named_by_some() -> None:
    reached = {TP("t", number): plain(0, 2) for number in range(5)}
    assert Backlog().why_not(reached, 1.0, 1.0) == "10 records of t-0, t-1, t-2 and 2 more wait that were there 0 s ago"


def test_a_member_without_partitions_has_nothing_to_do_and_has_done_nothing() -> None:
    backlog = Backlog()
    assert why_not(backlog, 100.0) is None
    assert why_not(backlog, 101.0, one=(0, 1_000_000)) is not None
