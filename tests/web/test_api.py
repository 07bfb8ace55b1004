"""What the page reads, over HTTP."""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.errors import ConfigurationError
from agents.figures import Figures
from agents.view import View
from lampit.web import PAGE
from lampit.web.documents import NOTES_FILE, Notes, of_region
from tests.brokers import ROOT
from tests.web.served import SECONDS_MAX, Served


def get(url: str, **headers: str) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS_MAX) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read(), refusal.headers


def get_json(url: str) -> tuple[int, Any]:
    status, body, _ = get(url)
    return status, json.loads(body)


def test_a_coverage_record_is_served_as_published(served: Served) -> None:
    status, record = get_json(f"{served.url}/api/coverage/16.09")
    assert status == 200
    assert record == served.view.records["16.09"]
    assert record["position"] == {"0": 9}


def test_any_day_can_be_asked_for(served: Served) -> None:
    for path in ("16.13", "16.13/children"):
        of_today = get_json(f"{served.url}/api/coverage/{path}")[1]
        status, answer = get_json(f"{served.url}/api/coverage/{path}?as_of=2029-04-17")
        assert status == 200
        assert answer["as_of"] == "2029-04-17" != of_today["as_of"]
        record, today = answer.get("region"), of_today.get("region")
        if isinstance(record, dict):
            assert record["obliged"]["total"] > today["obliged"]["total"], "all who turn 17 in ten years"
            assert len(answer["children"]) == len(of_today["children"])
    assert get_json(f"{served.url}/api/coverage/16.13?as_of={served.day}")[0] == 200
    status, before = get_json(f"{served.url}/api/coverage/16.09?as_of=2019-01-01")
    assert (status, before["opening"], before["obliged"]["total"]) == (200, "none", None)


def test_a_day_that_is_none_is_refused_and_a_worker_that_is_away_is_told(served: Served) -> None:
    for other in ("yesterday", "20190328", "2019-W13-4", "2019-02-29", ""):
        status, answer = get_json(f"{served.url}/api/coverage/16.09?as_of={other}")
        assert (status, answer["error"]) == (400, "as_of has to be a day of the calendar, written YYYY-MM-DD.")
    served.mute = True
    status, answer = get_json(f"{served.url}/api/coverage/16.09?as_of=2019-01-01")
    assert (status, answer["error"]) == (503, "A ledger worker did not answer.")


def test_an_unknown_region_is_404_and_what_was_typed_is_not_repeated(served: Served) -> None:
    typed = "3174010101900001"
    for path in (f"coverage/{typed}", f"coverage/{typed}/children", f"changes?region={typed}"):
        status, answer = get_json(f"{served.url}/api/{path}")
        assert status == 404
        assert typed not in json.dumps(answer)
    assert "31.74" in get_json(f"{served.url}/api/coverage/31.74")[1]["error"]


def test_the_document_has_the_way_the_children_and_what_is_in_none_of_them(served: Served) -> None:
    served.play(5)
    _, document = get_json(f"{served.url}/api/coverage/16.09/children")
    assert [step["region"] for step in document["path"]] == ["ID", "16", "16.09"]
    assert document["region"]["note"]["label"] == "published"
    assert all(child["opening"] == "parent" and child["percent"] is None for child in document["children"])
    for measure in ("obliged", "recorded", "unrecorded"):
        below = sum(child[measure]["total"] for child in document["children"])
        assert below > 0 or measure == "unrecorded"
        assert document["own"][measure] + below == document["region"][measure]["total"]
    assert document["own"]["population"] is None


def record(region: str, level: str, recorded: int, obliged: int) -> dict[str, Any]:
    count = {"M": None, "F": None, "unknown": None}
    measures = ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued", "unrecorded")
    counts = {measure: {**count, "total": None} for measure in measures}
    counts |= {"obliged": {**count, "total": obliged}, "recorded": {**count, "total": recorded}}
    ratio = recorded / obliged
    kept = {
        "as_of": "2019-03-31",
        "name": None,
        "opening": "balance",
        "coverage": ratio,
        "stale_denominator": False,
    }
    return {"region": region, "level": level, **counts, **kept}


def test_percentages_are_half_up_and_never_cut_off() -> None:
    view = View()
    view.update(
        [record("32.01", "regency", 3_269_003, 3_213_248), record("16.05", "regency", 194_649_012, 200_426_767)]
    )
    shown = {code: of_region(view, code, Notes()) for code in ("32.01", "16.05")}
    assert [document and document["region"]["percent"] for document in shown.values()] == ["101.74", "97.12"]


def test_where_regions_below_say_more_no_percentage_is_made_of_the_difference() -> None:
    view = View()
    view.update([record("16", "province", 90, 100), record("16.05", "regency", 93, 110)])
    document = of_region(view, "16", Notes())
    assert document is not None
    assert (document["own"]["obliged"], document["own"]["recorded"], document["own"]["percent"]) == (-10, -3, None)


def test_changes_are_sent_when_a_region_changes_and_only_then(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}/api/changes?region=16.05", timeout=SECONDS_MAX) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        first = next_document(stream)
        served.show([served.view.records["16.09"]])
        changed = served.view.records["16.05"]
        recorded = {**changed["recorded"], "total": changed["recorded"]["total"] + 5}
        served.show([{**changed, "recorded": recorded}])
        second = next_document(stream)
    assert first["region"]["recorded"]["total"] + 5 == second["region"]["recorded"]["total"]
    assert second["version"] == first["version"] + 2, "nothing was sent for another region"


def next_document(stream: Any) -> dict[str, Any]:
    for line in stream:
        if line.startswith(b"data: "):
            return dict(json.loads(line.removeprefix(b"data: ")))
    raise AssertionError("the stream ended")


def test_changes_say_when_the_figures_are_behind(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}/api/changes", timeout=SECONDS_MAX) as stream:
        assert next_document(stream)["live"] is True
        served.set_health("caught_up", False, "figures are being added up")
        behind = next_document(stream)
    assert (behind["live"], behind["behind"]) == (False, ["figures are being added up"])


def test_readers_of_changes_let_go_when_the_server_ends() -> None:
    with Served() as server:
        server.play(0)
        stream = urllib.request.urlopen(f"{server.url}/api/changes", timeout=SECONDS_MAX)
        next_document(stream)
    # An answer that is cut off, as that of a reader who does not let go, has no end, and to read it is an error.
    assert not stream.read().strip()
    stream.close()


def test_metrics_hold_the_regions_and_are_compressed_when_asked(served: Served) -> None:
    _, plain, headers = get(f"{served.url}/metrics")
    assert headers["Content-Encoding"] is None
    samples = {
        (sample.name, sample.labels["region"]): sample.value
        for family in text_string_to_metric_families(plain.decode())
        for sample in family.samples
    }
    assert samples["lampit_obliged", "16.09"] == 270_764
    assert samples["lampit_recorded", "16.09"] == 213_572
    assert ("lampit_population", "16.09") not in samples, "not stated is not zero"
    _, packed, headers = get(f"{served.url}/metrics", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain


def test_villages_have_a_path_of_their_own_by_province(served: Served) -> None:
    _, body, _ = get(f"{served.url}/metrics/villages/16")
    assert body == Figures(served.view).text(frozenset({"village"}), within="16")
    assert b'level="village",region="16.13.01.2001"' in body
    for other, said in (("16.13", "no province"), ("ID", "no province"), ("99", "no figures"), ("x", "no figures")):
        status, answer = get_json(f"{served.url}/metrics/villages/{other}")
        assert status == 404 and said in answer["error"]


def test_the_runbooks_notes_are_what_the_page_reads(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "deploy/RUNBOOK.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / NOTES_FILE).write_text(example, encoding="utf-8")
    notes = Notes.read(tmp_path)
    assert notes.notice == "Provisional until the 28th." and notes.regions["16.05"].label == "provisional"


def test_notes_of_another_encoding_are_one_sentence(tmp_path: Path) -> None:
    """As an editor of another age saves them."""
    (tmp_path / NOTES_FILE).write_bytes('{"notice": "Café"}'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="make it a JSON object"):
        Notes.read(tmp_path)


def test_the_page_asks_nobody_else_and_runs_nothing_inline(served: Served) -> None:
    _, page, headers = get(f"{served.url}/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"<script>" not in page
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", ["/api/coverage/16.05", "/api/coverage/16.05/children", "/metrics/villages/16"])
def test_before_the_first_figures_no_region_is_said_to_have_nobody(path: str) -> None:
    """A program takes 404 for zero, and the roll-up may be adding up for minutes."""
    with Served() as server:
        status, body, headers = get(f"{server.url}{path}")
        assert (status, json.loads(body)["error"].split(":")[0]) == (503, "There are no figures yet")
        assert headers["Retry-After"]
        server.play(0)
        assert get(f"{server.url}/api/coverage/16.05")[0] == 200
        assert get(f"{server.url}/api/coverage/16.77")[0] == 404
