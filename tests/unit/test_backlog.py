"""Whether intake keeps up."""

from __future__ import annotations

from faust.types import TP

from agents.backlog import Backlog
from agents.health import LATE_SECONDS

ONE, OTHER = TP("lampit.intake.birth", 0), TP("lampit.intake.death", 0)


def test_all_that_is_there_at_the_first_look_has_to_be_done() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: 5, OTHER: 0}, {ONE: 10, OTHER: 0}, 100.0) == (
        "10 records wait that were there 0 s ago"
    )
    assert backlog.why_not({ONE: 14, OTHER: 0}, {ONE: 50, OTHER: 7}, 101.0) == (
        "1 records wait that were there 1 s ago"
    )
    assert backlog.why_not({ONE: 15, OTHER: 0}, {ONE: 60, OTHER: 7}, 102.0) is None


def test_what_comes_later_has_its_time() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: 5}, {ONE: 0}, 100.0) is None
    assert backlog.why_not({ONE: 5}, {ONE: 3}, 101.0) is None, "nothing of it was there a measure ago"
    assert backlog.why_not({ONE: 5}, {ONE: 9}, 101.0 + LATE_SECONDS) is None
    assert backlog.why_not({ONE: 7}, {ONE: 9}, 102.0 + LATE_SECONDS) == (
        f"1 records wait that were there {LATE_SECONDS + 1:.0f} s ago"
    )
    assert backlog.why_not({ONE: 8}, {ONE: 9}, 103.0 + LATE_SECONDS) is None
    assert backlog.why_not({ONE: 8}, {ONE: 9}, 104.0 + LATE_SECONDS) is None, "it has its time again"


def test_markers_behind_the_last_record_do_not_wait() -> None:
    backlog = Backlog()
    assert backlog.why_not({ONE: 5}, {ONE: 2}, 100.0) is not None
    assert backlog.why_not({ONE: 6}, {ONE: 0}, 101.0) is None


def test_a_member_without_partitions_has_nothing_to_do_and_has_done_nothing() -> None:
    backlog = Backlog()
    assert backlog.why_not({}, {}, 100.0) is None
    assert backlog.why_not({ONE: 0}, {ONE: 1_000_000}, 101.0) is not None
