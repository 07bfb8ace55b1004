"""Every way of tampering that tests/tamper.py knows is found, and the first finding leads to the place."""

from __future__ import annotations

from pathlib import Path

from tests.tamper import WAYS, run
from tests.tamper_case import Case

TRIALS = 3 * len(WAYS)


def test_tampering_is_found_where_it_was_done(tmp_path: Path) -> None:
    result = run(tmp_path, TRIALS, seed=20190328)
    assert result.missed == []
    assert result.tried.total() == result.found.total() == TRIALS
    assert set(result.tried) == set(WAYS)


def test_an_end_cut_off_is_found_by_published_heads_only(tmp_path: Path) -> None:
    """What the archive alone cannot show: that it was longer once."""
    from lampit.audit.archive import Archive
    from lampit.audit.checks import check
    from lampit.audit.finding import Trust
    from stream.archive import write_manifest
    from stream.archive_tree import write_tree

    case = Case(tmp_path)
    for entry in case.entries[1][5:]:
        case.put(1, entry.file, None)
    case.put(1, "manifest.jsonl", write_manifest(case.headers[1], case.entries[1][:5]))
    case.put(1, "tree.jsonl", write_tree(case.headers[1], case.lines[1][:5]))
    archive = Archive.open(str(tmp_path))
    assert list(check(archive, Trust(case.trust.keys))) == []
    found = list(check(archive, case.trust))
    assert {(one.kind, one.partition) for one in found} == {("head", 1)}
