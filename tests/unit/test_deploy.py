"""docker-compose.yml, the Dockerfile and the runbook: what can be said of them without a Docker engine.

What Prometheus and Grafana are given is tested in test_monitoring.py, the Kafka configuration in
tests/broker/test_compose_kafka.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

import agents.health
import agents.metrics
from agents.figures import GAUGES
from agents.keys import KEY_BYTES_MIN
from agents.settings import Settings
from lampit import __version__
from lampit.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LAMPIT = {name: service for name, service in SERVICES.items() if name.startswith("lampit-")}
RUNBOOK = (ROOT / "deploy/RUNBOOK.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    "deploy/RUNBOOK.md",
    *(f"docs/decisions/{path.name}" for path in sorted(ROOT.glob("docs/decisions/*.md"))),
]
WEB_PORTS = {"intake": 6066, "ledger": 6067, "rollup": 6068, "archive": 6069}

on_each_service = pytest.mark.parametrize("name", SERVICES)
on_each_process = pytest.mark.parametrize("name", LAMPIT)


def mounts(service: dict[str, Any]) -> list[list[str]]:
    return [str(mount).split(":") for mount in service.get("volumes", [])]


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    # Merged first: the parser does not know YAML's `<<`, which the specification allows.
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(COMPOSE))
    assert set(parsed.service_names()) == set(SERVICES)


@on_each_service
def test_a_service_is_pinned_restarted_and_published_on_this_host_only(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"]), "no exact version"
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}, "a log that grows for ever fills the disk"
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), f"{port} is open to the network"


@on_each_service
def test_what_a_service_mounts_and_uses_is_there(name: str) -> None:
    service = SERVICES[name]
    for source, _, *mode in mounts(service):
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]
    assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    assert set(service.get("depends_on", [])) <= SERVICES.keys()


def test_every_volume_and_secret_is_used() -> None:
    assert {source for service in SERVICES.values() for source, *_ in mounts(service) if source[0] != "."} == set(
        COMPOSE["volumes"]
    )
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", [])} == set(COMPOSE["secrets"])


@on_each_process
def test_a_process_runs_a_command_that_exists_on_its_port(name: str) -> None:
    service = LAMPIT[name]
    assert "run" in COMMANDS
    command, kind = service["command"]
    assert command == "run" and name.removesuffix("-2") == f"lampit-{kind}"
    port = WEB_PORTS[kind]
    assert service["environment"]["LAMPIT_WEB_PORT"] == str(port)
    assert f"http://127.0.0.1:{port}/health/ready" in service["healthcheck"]["test"][-1]
    inside = {text.rpartition(":")[2] for text in (*service.get("expose", []), *service.get("ports", []))}
    assert inside == {str(port)}
    compile(service["healthcheck"]["test"][3], "healthcheck", "exec")


@on_each_process
def test_a_process_gets_settings_that_exist_and_are_accepted(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment: dict[str, str | None] = LAMPIT[name]["environment"]
    assert {variable.removeprefix("LAMPIT_").lower() for variable in environment} <= Settings.model_fields.keys()
    # One without a value is that of the shell, and not there if the shell has none.
    assert all(value is None or isinstance(value, str) for value in environment.values()), "compose takes strings"
    for variable, value in environment.items():
        if value is not None:
            monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.replication_factor == 1, "there is one node"
    assert settings.transactions
    assert [str(path) for path in settings.pseudonym_key_file or ()] == [f"/run/secrets/{LAMPIT[name]['secrets'][0]}"]
    assert settings.bootstrap_servers in kafka_properties()["advertised.listeners"]
    grace = int(LAMPIT[name]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.shutdown_seconds


FIXED = {
    "bootstrap_servers", "replication_factor", "data_dir", "web_host", "web_port", "pseudonym_key_file", "archive_url",
    "archive_key_file",
}  # fmt: skip
"""What the compose file itself says, of all processes or of one."""

NOT_FOR_ALL = {
    "pseudonym_key", "security_protocol", "ssl_ca_file", "ssl_certificate_file", "ssl_key_file", "sasl_mechanism",
    "sasl_username", "sasl_password_file", "sasl_password", "transactions", "shutdown_seconds", "web_url", "group_instance_id",
}  # fmt: skip
"""What would not fit the rest of the file: its key is in a file, its Kafka asks for no user and has transactions, a container
is killed after its grace period, and a name or an address is of one process."""


@on_each_process
def test_a_process_gets_every_setting_that_may_be_chosen(name: str) -> None:
    """One that is not passed on is ignored without a word, and `lampit epoch` begins an epoch without it."""
    environment: dict[str, str | None] = LAMPIT[name]["environment"]
    chosen = {variable.removeprefix("LAMPIT_").lower() for variable, value in environment.items() if value is None}
    assert chosen == Settings.model_fields.keys() - FIXED - NOT_FOR_ALL
    assert Settings.model_fields.keys() >= FIXED | NOT_FOR_ALL, "it is no setting any more"
    # "${NAME}" passes one that is unset on as an empty text, which settings refuse; a default is told in one place only.
    assert not [value for value in environment.values() if value is not None and "$" in value]


@on_each_process
def test_a_process_has_few_rights_and_one_place_to_write(name: str) -> None:
    service = LAMPIT[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    data = service["environment"]["LAMPIT_DATA_DIR"]
    targets = [target for _, target, *_ in mounts(service)] + [text.partition(":")[0] for text in service["tmpfs"]]
    assert data in targets and "/tmp" in targets


def test_two_processes_never_share_a_store() -> None:
    stores = [source for service in LAMPIT.values() for source, *_ in mounts(service)]
    assert stores and len(stores) == len(set(stores))


def test_the_images_of_all_processes_are_this_version() -> None:
    assert {service["image"] for service in LAMPIT.values()} == {f"lampit:{__version__.split('.dev')[0]}"}


def kafka_properties() -> dict[str, str]:
    lines = (ROOT / "deploy/kafka/server.properties").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_kafka_keeps_its_log_in_its_volume_and_is_known_by_its_name() -> None:
    kafka = SERVICES["kafka"]
    assert kafka_properties()["log.dirs"] in [target for _, target, *_ in mounts(kafka)]
    assert f"INTERNAL://{kafka['hostname']}:19092" in kafka_properties()["advertised.listeners"]
    for port in kafka["ports"]:
        assert f"://{port.rpartition(':')[0]}" in kafka_properties()["advertised.listeners"]
    assert [value for name, value in kafka_properties().items() if name.endswith("replication.factor")] == ["1"] * 4


def dockerfile() -> list[list[str]]:
    """The instructions, continued lines joined."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [line.split() for line in lines if line.strip()]


def test_the_image_is_pinned_locked_and_not_root() -> None:
    instructions = dockerfile()
    build, final = (words[1] for words in instructions if words[0] == "FROM")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", final)
    assert build == final.replace("-slim", ""), "the same Python and system, with a compiler"
    installs = [" ".join(words) for words in instructions if words[0] == "RUN" and "pip install" in " ".join(words)]
    assert "--require-hashes" in installs[0] and "requirements.lock" in installs[0]
    assert all("--no-deps" in install for install in installs), "something is installed that is not in the lock"
    assert "--require-hashes" in installs[1] and "--target /opt/compile" in installs[1], "tools stay out of the image"
    assert "scripts/compile &&" in installs[2] and "--no-index" in installs[2]
    (user,) = [words[1] for words in instructions if words[0] == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert f"uid={user.split(':')[0]}," in LAMPIT["lampit-intake"]["tmpfs"][1]
    assert ["ENTRYPOINT", '["lampit"]'] in instructions


def test_what_the_image_copies_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored, "what is not named would be sent: keys and stores too"
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for words in dockerfile()
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_secrets_are_made_once_and_never_replaced(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy/secrets", tmp_path / "secrets", ignore=shutil.ignore_patterns("*.key", "*password"))
    script = shutil.copy(ROOT / "deploy/make-secrets", tmp_path)
    assert os.access(script, os.X_OK)
    for _ in range(2):
        said = subprocess.run([script], capture_output=True, text=True, check=True, timeout=120)
        made = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir() if path.name != ".gitignore"}
        if "left as it is" not in said.stdout:
            first = made
    assert made == first
    assert made.keys() == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert all(len(secret) >= KEY_BYTES_MIN and secret.decode() not in said.stdout for secret in made.values())
    assert len(set(made.values())) == len(made)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    # Another user than the file's owner reads it inside a container.
    assert all((tmp_path / "secrets" / name).stat().st_mode & stat.S_IROTH for name in made)
    assert all((ROOT / Path(secret["file"]).parent).is_dir() for secret in COMPOSE["secrets"].values())


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_runbook_explains_every_setting(name: str) -> None:
    field = Settings.model_fields[name]
    default = field.default
    shown = ",".join(default) if isinstance(default, list) else "" if default is None else str(default).lower()
    if isinstance(default, Path | str):
        shown = str(default)
    row = f"| `LAMPIT_{name.upper()}` | {f'`{shown}`' if shown else '–'} | {field.description} |"
    assert row in RUNBOOK.splitlines(), f"deploy/RUNBOOK.md lacks this line:\n{row}"


def test_the_runbook_names_no_setting_that_does_not_exist() -> None:
    named = {name.lower() for name in re.findall(r"\bLAMPIT_([A-Z_]+)\b", RUNBOOK)} - {"config"}
    assert named <= Settings.model_fields.keys()


def metrics() -> set[str]:
    """Every metric of ours, under the name it is asked for by."""
    assert agents.health.READY is not None
    counters = {"counter": "_total"}
    own = [family for family in prometheus_client.REGISTRY.collect() if family.name.startswith("lampit_")]
    return {family.name + counters.get(family.type, "") for family in own} | set(GAUGES)


def test_the_runbook_lists_exactly_the_metrics_there_are() -> None:
    assert set(re.findall(r"(?m)^\| `(lampit_\w+)`", RUNBOOK)) == metrics()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#[^)]*)?\)", text):
        assert not target or ((ROOT / document).parent / target).exists(), f"{document} links to {target}"


def test_the_commands_in_the_documents_exist() -> None:
    for document in ("README.md", "deploy/RUNBOOK.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.findall(r"(?ms)^```(?:sh|console)\n(.*?)^```", text):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["lampit"]:
                    assert words[1] in COMMANDS or words[1].startswith("-"), line
                if words[:1] == ["make"]:
                    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                    assert re.search(rf"(?m)^{re.escape(words[1])}:", makefile), line


def test_the_example_in_the_readme_says_what_lampit_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (events,) = re.findall(r"(?ms)^```json\n(.*?)^```", readme)
    session = "".join(re.findall(r"(?ms)^```console\n(.*?)^```", readme))
    (tmp_path / "events.jsonl").write_text(events, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
    said = ""
    for line in re.findall(r"(?m)^\$ lampit (.*)$", session):
        command = [sys.executable, "-m", "lampit", *shlex.split(line)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=120,
        )
        said += f"$ lampit {line}\n{done.stdout}"
    assert sorted(said.splitlines()) == sorted(session.splitlines())


def test_the_kafka_commands_say_which_broker() -> None:
    """Without it they print their help, and nothing else."""
    commands = re.findall(r"kafka-[a-z-]+\.sh\s+--[^`]*", RUNBOOK)
    assert len(commands) >= 4
    assert [command for command in commands if "--bootstrap-server" not in command] == []
