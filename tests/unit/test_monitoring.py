"""Prometheus' rules and Grafana's dashboards: that they are valid, tested, documented, and show what the processes export.

The last part runs a real Prometheus on deploy/prometheus/prometheus.yml against a /metrics of real collectors.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import prometheus_client
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from agents import health, metrics
from agents.figures import GAUGES, Figures
from agents.view import View
from lampit.broker import free_port, spawn, stop_process

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
RULES = [
    rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RUNBOOK = (ROOT / "deploy/RUNBOOK.md").read_text(encoding="utf-8")
VARIABLES = {"$__rate_interval": "4m", "$__range": "1h", "$region": "16.05"}
SETTLES_SECONDS_MAX = 120.0

ANSWER_SECONDS_MAX = 60.0
PROMTOOL_SECONDS_MAX = 150.0
"""Days of every series are played to the rules: a quarter of a minute where nothing else runs."""

Answer = TypeVar("Answer")


def promtool_says(promtool: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, timeout=ANSWER_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dashboard(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def expressions(path: Path) -> list[str]:
    """Of the panels and of the variables, with Grafana's variables filled in."""
    found = [target["expr"] for panel in dashboard(path)["panels"] for target in panel.get("targets", [])]
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"query_result\((.*)\)", variable["query"]["query"])
            assert inner is not None
            found.append(inner[1])
    for name, value in VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def exported() -> set[str]:
    """The names of all series the processes export."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    families = [family for family in prometheus_client.REGISTRY.collect() if family.name.startswith("lampit_")]
    return {family.name + suffix for family in families for suffix in suffixes[family.type]} | set(GAUGES)


def named(expression: str) -> set[str]:
    """The series an expression names: what is left without strings, matchers, groupings, functions and words."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    words = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()", text)
    return set(words) - {"and", "or", "unless", "bool", "offset"}


def test_the_configuration_is_valid(promtool: str) -> None:
    promtool_says(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


def test_every_rule_is_valid_and_named_once(promtool: str) -> None:
    promtool_says(promtool, "check", "rules", *RULE_FILES)
    names = [rule.get("alert", rule.get("record")) for rule in RULES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_the_rules_do_what_their_tests_say(path: Path, promtool: str) -> None:
    assert "SUCCESS" in promtool_says(promtool, "test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_test_that_it_fires_and_one_that_it_stays_silent(alert: str) -> None:
    cases = [
        bool(case["exp_alerts"])
        for path in TEST_FILES
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert
    ]
    assert {True, False} == set(cases)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_its_entry_in_the_runbook(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]
    assert annotations["runbook"] == f"deploy/RUNBOOK.md#{alert.lower()}"
    assert annotations["summary"]
    entry = re.search(rf"(?ms)^### {alert}\n(.*?)(?=^#|\Z)", RUNBOOK)
    assert entry is not None, "the link leads nowhere"
    for heading in ("**Means.**", "**Look at.**", "**Do.**"):
        assert heading in entry[1]
    assert ALERTS[alert]["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"(?m)^### (Lampit\w+)$", RUNBOOK)) == set(ALERTS)


def test_rules_and_dashboards_name_only_series_that_exist() -> None:
    known = exported() | RECORDED | {"up", "ALERTS"}
    for rule in RULES:
        assert named(rule["expr"]) and named(rule["expr"]) <= known, rule["expr"]
    for path in DASHBOARDS:
        for expression in expressions(path):
            assert named(expression) and named(expression) <= known, expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_expression_of_a_dashboard_can_be_parsed(path: Path, promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:{number}", "expr": text} for number, text in enumerate(expressions(path))]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool_says(promtool, "check", "rules", file)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_fits_the_data_source_and_the_screen(path: Path) -> None:
    loaded = dashboard(path)
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (variable,) = [variable for variable in loaded["templating"]["list"] if variable["type"] == "datasource"]
    assert variable["current"]["value"] in [source["uid"] for source in sources]
    panels = loaded["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    used: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        area = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not area & used and place["x"] + place["w"] <= 24, f"{panel['title']} lies over another panel"
        used |= area
        assert {target["datasource"]["uid"] for target in panel.get("targets", [])} <= {"${datasource}"}


def test_whatever_an_alert_looks_at_is_on_a_dashboard() -> None:
    """Or its entry in the runbook has nothing to look at in Grafana."""
    shown = {name for path in DASHBOARDS for expression in expressions(path) for name in named(expression)}
    recorded = {rule["record"]: named(rule["expr"]) for rule in RULES if "record" in rule}
    for alert, rule in ALERTS.items():
        asked = named(rule["expr"])
        while derived := asked & recorded.keys():
            asked = asked - derived | {name for record in derived for name in recorded[record]}
        assert asked <= shown, f"{alert} is about {asked - shown}, which no panel shows"


def test_grafana_is_given_the_folders_that_compose_mounts() -> None:
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/lampit.yml").read_text())["providers"][0]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in {f"{provider['options']['path']}/{path.name}" for path in DASHBOARDS}
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"].endswith(":-false}")


# A real Prometheus.


def coverage(region: str, level: str, name: str, obliged: int, recorded: int) -> dict[str, Any]:
    totals = {"population": obliged + 100, "obliged": obliged, "recorded": recorded, "recorded_early": 3}
    record: dict[str, Any] = {measure: {"total": total} for measure, total in totals.items()}
    named = {"region": region, "level": level, "name": name, "opening": "register"}
    return record | named | {"coverage": recorded / obliged}


REGIONS = [
    coverage("ID", "country", "Indonesia", 293_578, 283_755),
    coverage("16", "province", "Sumatera Selatan", 293_578, 283_755),
    coverage("16.05", "regency", "Musi Rawas", 293_578, 283_755),
    coverage("16.05.02", "district", "Tugumulyo", 1_000, 790),
]


class Page(BaseHTTPRequestHandler):
    """/metrics as a process serves it; what was counted grows from scrape to scrape, so that rates are there."""

    figures: Figures

    def do_GET(self) -> None:
        metrics.EVENTS.labels("lampit.birth.v1", "accepted", "").inc(7)
        metrics.EVENTS.labels("", "rejected", "malformed_nik").inc()
        metrics.DELAY_DAYS.observe("lampit.birth.v1", 3)
        metrics.DELAY_SECONDS.observe(0.2)
        metrics.COUNTED.labels(0).inc(7)
        metrics.batch("apply", 0.01)
        metrics.position("lampit.ledger", 0, 812, 3, int(time.time() * 1000) - 2000)
        metrics.recovery(0, 1.0)
        metrics.business_day(0, 737_145)
        metrics.ARCHIVE_POSITION.labels("lampit.ledger", 0).set(800)
        metrics.ARCHIVE_TREE.labels("lampit.ledger", 0).set(750)
        metrics.SNAPSHOT_TIME.labels(0).set_to_current_time()
        metrics.SNAPSHOTS.labels("written").inc()
        metrics.STANDBY_LAG.labels(0).set(5)
        health.READY.set(1)
        levels = frozenset({"country", "province", "regency", "district"})
        body = prometheus_client.generate_latest() + self.figures.text(levels)
        self.send_response(200)
        self.send_header("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    """The port of a process that exports everything."""
    view = View()
    view.update(REGIONS)
    handler = type("PageOfRegions", (Page,), {"figures": Figures(view)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    # The registry is one for the whole process: other tests begin without these series.
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.clear()


class Prometheus:
    """The API of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=ANSWER_SECONDS_MAX) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result

    def rules(self) -> dict[str, dict[str, Any]]:
        """Those that are loaded, by name."""
        with urllib.request.urlopen(f"{self.url}/api/v1/rules", timeout=ANSWER_SECONDS_MAX) as answer:
            return {rule["name"]: rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]}

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The answer, as soon as there is one. A scrape that a busy machine lets fail takes it away until the next one."""
        return settled(lambda: self.ask(expression), bool)


def settled(ask: Callable[[], Answer], is_wanted: Callable[[Answer], bool]) -> Answer:
    """The first answer that is wanted; else the last one."""
    deadline = time.monotonic() + SETTLES_SECONDS_MAX
    while True:
        with suppress(OSError):
            found = ask()
            if is_wanted(found) or time.monotonic() > deadline:
                return found
        assert time.monotonic() <= deadline, "Prometheus does not answer"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def prometheus(promtool: str, page: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus on the deployed configuration; only the addresses and the pace are others."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    configuration["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / pattern) for pattern in configuration["rule_files"]]
    port, pages = free_port(), 0
    for job in configuration["scrape_configs"]:
        job.pop("scrape_interval", None)
        if job.pop("dns_sd_configs", None):
            pages += 1
            job["static_configs"] = [{"targets": [f"127.0.0.1:{page}"]}]
        else:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    program = Path(promtool).with_name("prometheus")
    flags = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = spawn([str(program), *flags], log=folder / "prometheus.log")
    try:
        running = Prometheus(port)
        # Three scrapes of every job and one evaluation: from here on every expression has an answer.
        jobs = f"count(count_over_time(lampit_ready[1m]) >= 3) == {pages} and on () lampit:events:increase1h"
        assert running.wait_for(jobs), (folder / "prometheus.log").read_text()[-2000:]
        yield running
    finally:
        stop_process(process)


def test_prometheus_has_the_coverage_of_a_region(prometheus: Prometheus) -> None:
    (sample,) = prometheus.wait_for('lampit_coverage_ratio{region="16.05", job="lampit-rollup"}')
    assert sample["metric"]["level"] == "regency"
    assert float(sample["value"][1]) == 283_755 / 293_578
    (info,) = prometheus.wait_for('lampit_region_info{region="16.05.02", job="lampit-rollup"}')
    assert (info["metric"]["name"], info["metric"]["parent"]) == ("Tugumulyo", "16.05")
    assert info["metric"]["opening"] == "register"


def test_prometheus_loads_every_rule_and_fires_none_about_processes(prometheus: Prometheus) -> None:
    def wrong() -> set[str]:
        """Until it has been evaluated, each; and that of processes while a scrape has failed."""
        loaded = prometheus.rules()
        assert loaded.keys() == ALERTS.keys() | RECORDED
        down = set() if loaded["LampitProcessDown"]["state"] == "inactive" else {"LampitProcessDown"}
        return down | {name for name, rule in loaded.items() if rule["health"] != "ok"}

    assert settled(wrong, lambda names: not names) == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_of_a_dashboard_shows_something(path: Path, prometheus: Prometheus) -> None:
    empty = [expression for expression in expressions(path) if not prometheus.wait_for(expression)]
    assert empty == []
