"""Settings: environment before file, unknown names refused, errors of one sentence that hold no value."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from agents.app import create_app
from agents.connection import for_aiokafka
from agents.errors import ConfigurationError, LampitError
from agents.settings import Settings, load_settings
from lampit.run import environment_of

SECRET = "hunter2-is-far-too-short"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("LAMPIT_")]:
        monkeypatch.delenv(name)


def test_defaults_are_safe_for_one_machine() -> None:
    settings = load_settings()
    assert (settings.bootstrap_servers, settings.web_host, settings.transactions) == (
        "127.0.0.1:9092",
        "127.0.0.1",
        True,
    )
    assert settings.metrics_levels == ["country", "province", "regency", "district"]


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description and len(field.description) > 20, name


def test_environment_wins_over_file_and_argument_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lampit.toml"
    file.write_text('partitions = 8\nweb_port = 7001\nmetrics_levels = ["country"]\n')
    monkeypatch.setenv("LAMPIT_CONFIG", str(file))
    monkeypatch.setenv("LAMPIT_WEB_PORT", "7002")
    settings = load_settings(group_prefix="other")
    assert (settings.partitions, settings.web_port, settings.group_prefix) == (8, 7002, "other")
    assert settings.metrics_levels == ["country"]
    assert load_settings(web_port=7003).web_port == 7003


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPIT_METRICS_LEVELS", "country, village")
    monkeypatch.setenv("LAMPIT_BOOTSTRAP_SERVERS", "a.example:9092, b.example:9093")
    settings = load_settings()
    assert settings.metrics_levels == ["country", "village"]
    assert settings.bootstrap_servers == "a.example:9092,b.example:9093"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTITIONS", "0"),
        ("PARTITIONS", "four-or-so"),
        ("TRANSACTIONS", "perhaps-not"),
        ("DAY_SOURCE", "sundial"),
        ("TRANSIT_EXPIRY_DAYS", "-30000"),
        ("LEAP_BIRTHDAY", "29-february"),
        ("WEB_PORT", "65536"),
        ("BOOTSTRAP_SERVERS", "kafka.example"),
        ("BOOTSTRAP_SERVERS", "a:1,b:99999"),
        ("METRICS_LEVELS", "country,hamlet"),
        ("HEARTBEAT_SECONDS", "29"),
        ("GROUP_PREFIX", "with-a blank"),
        ("STANDBY_PARTITIONS", "some of them"),
        ("WEB_URL", "somewhere"),
        ("CLOSING_DAY", "29"),
        ("FIRST_PERIOD", "2019-003"),
        ("PSEUDONYM_KEY", SECRET),
        ("COMPRESSION", "gzip-please"),
    ],
)
def test_a_bad_value_is_one_sentence_naming_the_setting(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LAMPIT_{name}", value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    message = str(raised.value)
    assert message.startswith(f"LAMPIT_{name} cannot be used: ")
    assert message.endswith(".") and "\n" not in message
    assert "pattern" not in message, "a regular expression is no remedy"
    assert len(value) < 3 or value not in message
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


@pytest.mark.parametrize("name", ["PSEUDONYM_KEY_FILE", "ARCHIVE_URL", "PARTITIONS", "WEB_URL"])
def test_an_empty_value_is_told_as_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "Tuple should have at least 1 item after validation, not 0"."""
    monkeypatch.setenv(f"LAMPIT_{name}", "")
    with pytest.raises(
        ConfigurationError, match=rf"^LAMPIT_{name} cannot be used: it is empty: give it a value, or unset it \(.*\)\.$"
    ):
        load_settings()


def test_unknown_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPIT_PARTITION", "4")
    with pytest.raises(ConfigurationError, match=r"^LAMPIT_PARTITION is not a setting: .*\.$"):
        load_settings()
    monkeypatch.delenv("LAMPIT_PARTITION")
    file = tmp_path / "lampit.toml"
    file.write_text("partition = 4\n")
    monkeypatch.setenv("LAMPIT_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=r"^LAMPIT_PARTITION is not a setting: .*LAMPIT_CONFIG.*\.$"):
        load_settings()


def test_variables_of_kubernetes_services_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LAMPIT_LEDGER_SERVICE_HOST",
        "LAMPIT_LEDGER_PORT_6067_TCP_ADDR",
        "LAMPIT_PORT",
        "LAMPIT_SERVICE_PORT_WEB",
    ):
        monkeypatch.setenv(name, "tcp://10.0.0.1:6067")
    assert load_settings().web_port == 6066
    monkeypatch.setenv("LAMPIT_WEBB_PORT", "6067")
    with pytest.raises(ConfigurationError, match="LAMPIT_WEBB_PORT"):
        load_settings()


@pytest.mark.parametrize("content", [None, "partitions = = 4", 'partitions = "four'])
def test_a_bad_file_is_one_sentence(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lampit.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("LAMPIT_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=r"LAMPIT_CONFIG.*\.$"):
        load_settings()


def test_the_key_comes_from_one_place_and_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="LAMPIT_PSEUDONYM_KEY_FILE"):
        load_settings().pseudonym_keys()
    file = tmp_path / "key"
    file.write_bytes(b"k" * 32 + b"\n")
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY_FILE", str(file))
    assert load_settings().pseudonym_keys() == (b"k" * 32,)
    file.write_bytes(b"k" * 31 + b"\n")
    with pytest.raises(ConfigurationError, match="LAMPIT_PSEUDONYM_KEY_FILE"):
        load_settings().pseudonym_keys()
    file.unlink()
    with pytest.raises(ConfigurationError, match="LAMPIT_PSEUDONYM_KEY_FILE"):
        load_settings().pseudonym_keys()
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY", "z" * 32)
    with pytest.raises(ConfigurationError, match="not both"):
        load_settings()
    monkeypatch.delenv("LAMPIT_PSEUDONYM_KEY_FILE")
    settings = load_settings()
    assert settings.pseudonym_keys() == (b"z" * 32,)
    assert "zzzz" not in repr(settings) and "zzzz" not in settings.model_dump_json()


def test_the_keys_of_a_rotated_ledger_are_files_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    first.write_bytes(b"1" * 32 + b"\n")
    second.write_bytes(b"2" * 32 + b"\n")
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY_FILE", f"{first}, {second}")
    assert load_settings().pseudonym_keys() == (b"1" * 32, b"2" * 32)
    config = tmp_path / "lampit.toml"
    config.write_text(f'pseudonym_key_file = ["{second}", "{first}"]')
    monkeypatch.setenv("LAMPIT_CONFIG", str(config))
    monkeypatch.delenv("LAMPIT_PSEUDONYM_KEY_FILE")
    assert load_settings().pseudonym_keys() == (b"2" * 32, b"1" * 32)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ConfigurationError, match=r"LAMPIT_PSEUDONYM_KEY_FILE names one key twice.*once\.$"):
        load_settings().pseudonym_keys()
    monkeypatch.setenv("LAMPIT_PSEUDONYM_KEY_FILE", " , ")
    with pytest.raises(ConfigurationError, match="LAMPIT_PSEUDONYM_KEY_FILE"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "LAMPIT_SASL_USERNAME"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "lampit"}, "LAMPIT_SASL_PASSWORD_FILE"),
        ({"SASL_USERNAME": "lampit"}, "LAMPIT_SECURITY_PROTOCOL"),
        ({"SASL_PASSWORD": SECRET}, "LAMPIT_SECURITY_PROTOCOL"),
        ({"SSL_CA_FILE": "ca.pem"}, "LAMPIT_SECURITY_PROTOCOL"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_FILE": "key.pem"}, "LAMPIT_SSL_CERTIFICATE_FILE"),
        ({"SECURITY_PROTOCOL": "TLS"}, "LAMPIT_SECURITY_PROTOCOL"),
    ],
)
def test_half_a_security_is_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"LAMPIT_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert named in str(refused.value)
    assert SECRET not in str(refused.value)


def test_certificates_that_are_none_are_a_sentence(tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")
    for settings, named in (
        (Settings(security_protocol="SSL", ssl_ca_file=nonsense), "LAMPIT_SSL_CA_FILE"),
        (Settings(security_protocol="SSL", ssl_ca_file=tmp_path / "none"), "LAMPIT_SSL_CA_FILE"),
        (Settings(security_protocol="SSL", ssl_certificate_file=nonsense), "LAMPIT_SSL_CERTIFICATE_FILE"),
    ):
        with pytest.raises(ConfigurationError, match=named):
            for_aiokafka(settings)


def test_a_data_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigurationError, match=r"LAMPIT_DATA_DIR cannot be used \(Not a directory\): name a directory"
    ):
        create_app("ledger", Settings(data_dir=tmp_path / "file" / "data"))


def test_an_address_that_cannot_be_listened_at_is_a_sentence(tmp_path: Path) -> None:
    """One in use is free again once the process of before has ended: then a restart mends it, and nothing is refused."""

    def said(host: str, port: int) -> LampitError:
        app = create_app("intake", Settings(data_dir=tmp_path, web_host=host, web_port=port))
        with pytest.raises(LampitError, match="LAMPIT_WEB_HOST and LAMPIT_WEB_PORT") as error:
            asyncio.run(app.web.start_server())
        return error.value

    with socket.create_server(("127.0.0.1", 0)) as other:
        in_use = said("127.0.0.1", other.getsockname()[1])
    assert "Address already in use" in str(in_use) and not isinstance(in_use, ConfigurationError)
    assert isinstance(said("192.0.2.1", 6066), ConfigurationError)
    assert isinstance(said("no host", 6066), ConfigurationError)


def test_agents_of_one_supervisor_have_addresses_of_their_own() -> None:
    """With LAMPIT_WEB_URL all had the same: the roll-up asked itself, or intake, for the figures of other days."""
    settings = Settings(web_url="http://lampit.example:6066")
    urls = [environment_of(number, settings)["LAMPIT_WEB_URL"] for number in range(3)]
    assert urls == ["http://127.0.0.1:6066", "http://127.0.0.1:6067", "http://127.0.0.1:6068"]
