"""The settings of every Lampit process.

In: environment variables LAMPIT_<NAME> and the TOML file named by LAMPIT_CONFIG; the environment wins.
Out: `load_settings()` gives a checked, frozen `Settings`, or raises ConfigurationError: one sentence with the name of the
setting and the remedy, never its value. Not in here: what a setting does. Callers: agents/, the command.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from agents.errors import ConfigurationError
from agents.keys import KEY_BYTES_MIN, read_key
from stream.periods import month_of

PREFIX: Final = "LAMPIT_"
CONFIG: Final = "LAMPIT_CONFIG"

Level = Literal["country", "province", "regency", "district", "village"]

# Kubernetes puts LAMPIT_<SERVICE>_SERVICE_HOST=…, LAMPIT_<SERVICE>_PORT=tcp://… etc. into every pod beside a service whose
# name begins with "lampit": not settings, and no reason to refuse to start. LAMPIT_TEST_… tell the tests where things are.
_NO_SETTING: Final = re.compile(
    r"LAMPIT_TEST_\w+=.*|"
    r"LAMPIT_(\w+_)?(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT_\d+_(TCP|UDP)(_\w+)?=.*|PORT=(tcp|udp)://.*)"
)
_NAME: Final = r"^[A-Za-z0-9._-]+$"
_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class Settings(BaseSettings):
    """Every field is LAMPIT_<FIELD> in the environment and <field> in the TOML file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, case_sensitive=False, hide_input_in_errors=True
    )

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", description="Kafka brokers to ask first, as host:port, several separated by commas"
    )
    partitions: int = Field(
        4,
        ge=1,
        le=1000,
        description="partitions of the intake, ledger and anomaly topics; fixed once the ledger exists",
    )
    replication_factor: int = Field(1, ge=1, le=9, description="copies Kafka keeps of every topic; 3 in production")
    transactions: bool = Field(
        True, description="fence writers by Kafka transactions; false only for the embedded broker, with one worker"
    )
    compression: Literal["none", "lz4", "zstd"] = Field("zstd", description="codec of the records that Lampit writes")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how Kafka is reached: with TLS (SSL), a user (SASL), both or neither"
    )
    ssl_ca_file: Path | None = Field(
        None, description="PEM file of the authorities that vouch for the brokers; unset: those of this system"
    )
    ssl_certificate_file: Path | None = Field(
        None, description="PEM file of this client's certificate, where the brokers ask for one"
    )
    ssl_key_file: Path | None = Field(
        None, description="PEM file of that certificate's key; unset: it is in the certificate's file"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the user proves to be the one named, with a SASL security protocol"
    )
    sasl_username: str | None = Field(None, min_length=1, description="Kafka user, with a SASL security protocol")
    sasl_password_file: Path | None = Field(
        None, description="file that holds the user's password; this or LAMPIT_SASL_PASSWORD"
    )
    sasl_password: SecretStr | None = Field(
        None, description="the user's password itself; this or LAMPIT_SASL_PASSWORD_FILE"
    )
    data_dir: Path = Field(Path("lampit-data"), description="directory of the stores; one process may use it at a time")
    web_host: str = Field("127.0.0.1", min_length=1, description="address the web server listens on")
    web_port: int = Field(6066, ge=1, le=65535, description="port the web server listens on")
    web_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+$",
        description="where other processes reach this web server, as http://host:port; unset: LAMPIT_WEB_HOST, or this "
        "machine's name where that is every address, and LAMPIT_WEB_PORT",
    )
    pseudonym_key_file: Annotated[tuple[Path, ...], NoDecode] | None = Field(
        None,
        min_length=1,
        description="file that holds the pseudonym key, 32 bytes or more; of a rotated ledger the files of all its keys, "
        "oldest first, separated by commas; this or LAMPIT_PSEUDONYM_KEY",
    )
    pseudonym_key: SecretStr | None = Field(
        None, description="the pseudonym key itself, 32 bytes or more; this or LAMPIT_PSEUDONYM_KEY_FILE"
    )
    day_source: Literal["clock", "manual"] = Field(
        "clock", description='"clock" begins a new day at 00:00 WIB, "manual" waits for `lampit` to be told'
    )
    transit_expiry_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="days in transit without arrival before a person counts at the old home again",
    )
    leap_birthday: Literal["mar1", "feb28"] = Field(
        "mar1", description="the day someone born on 29 February turns 17 in a common year"
    )
    closing_day: int = Field(28, ge=1, le=28, description="day of the month at whose end the month is closed")
    first_period: str | None = Field(
        None, description="first month to be closed, as YYYY-MM; months are closed only when it is set"
    )
    session_timeout_seconds: int = Field(
        30, ge=6, le=300, description="silence after which a worker's partitions go to another one"
    )
    heartbeat_seconds: int = Field(
        3, ge=1, le=100, description="time between two heartbeats; at most a third of the session timeout"
    )
    fetch_wait_milliseconds: int = Field(
        20,
        ge=1,
        le=5000,
        description="how long a broker may hold an empty fetch; adds to the delay of quiet partitions",
    )
    max_poll_records: int = Field(8000, ge=1, le=100_000, description="most records an agent gets in one batch")
    group_instance_id: str | None = Field(
        None,
        min_length=1,
        pattern=_NAME,
        description="fixed name of this worker in its group (letters, digits, . _ -): a quick restart keeps its partitions",
    )
    shutdown_seconds: int = Field(20, ge=1, le=600, description="time to stop in before the process ends regardless")
    metrics_levels: Annotated[list[Level], NoDecode] = Field(
        ["country", "province", "regency", "district"],
        description="levels of regions that /metrics shows, separated by commas",
    )
    archive_url: str | None = Field(
        None, min_length=1, description="where the archive is: a directory, or s3://BUCKET/PREFIX"
    )
    archive_key_file: Path | None = Field(
        None, description="file that holds the Ed25519 private key (PEM) with which the archive's heads are signed"
    )
    archive_segment_records: int = Field(
        50_000,
        ge=1,
        le=10_000_000,
        description="offsets, or 256 MiB, that one archive segment covers; of each partition so much waits in memory",
    )
    snapshot_url: str | None = Field(
        None,
        min_length=1,
        description="where ledger workers keep snapshots of their stores, so that a new machine does not begin at the "
        "first record: a directory, or s3://BUCKET/PREFIX",
    )
    snapshot_seconds: int = Field(
        3600, ge=1, le=7 * 86_400, description="time between two snapshots of a partition's store"
    )
    standby_partitions: str | None = Field(
        None,
        pattern=r"^(all|\d{1,4}(,\d{1,4})*)$",
        description="partitions of which a ledger worker keeps warm copies while others count them: all, or numbers "
        "separated by commas",
    )
    group_prefix: str = Field(
        "lampit", pattern=_NAME, max_length=100, description="beginning of the groups' names (letters, digits, . _ -)"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file; no .env and no secrets directory."""
        path = os.environ.get(CONFIG)
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, toml_file=path)) if path else sources

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",")]
        for server in servers:
            match = _SERVER.fullmatch(server)
            if match is None or not 1 <= int(match[2]) <= 65535:
                raise ValueError("each server should be host:port")
        return ",".join(servers)

    @field_validator("first_period")
    @classmethod
    def _period(cls, value: str | None) -> str | None:
        if value is not None:
            month_of(value)
        return value

    @field_validator("metrics_levels", mode="before")
    @classmethod
    def _levels(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("heartbeat_seconds")
    @classmethod
    def _heartbeat(cls, value: int, info: Any) -> int:
        session = info.data.get("session_timeout_seconds")
        if session is not None and value * 3 > session:
            raise ValueError("it should be at most a third of LAMPIT_SESSION_TIMEOUT_SECONDS")
        return value

    @field_validator("pseudonym_key_file", mode="before")
    @classmethod
    def _key_files(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return [value] if isinstance(value, Path) else value

    @field_validator("pseudonym_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < KEY_BYTES_MIN:
            raise ValueError(f"it should be {KEY_BYTES_MIN} bytes or more")
        return value

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.pseudonym_key is not None and self.pseudonym_key_file is not None:
            raise ValueError("set either LAMPIT_PSEUDONYM_KEY or LAMPIT_PSEUDONYM_KEY_FILE, not both")
        return self

    @model_validator(mode="after")
    def _security(self) -> Self:
        """What is set for TLS or a user and would have no effect is more likely a mistake than meant."""
        passwords = [value for value in (self.sasl_password, self.sasl_password_file) if value is not None]
        if self.security_protocol.startswith("SASL"):
            if self.sasl_username is None or len(passwords) != 1:
                raise ValueError(
                    f"LAMPIT_SECURITY_PROTOCOL={self.security_protocol} needs LAMPIT_SASL_USERNAME and one of "
                    "LAMPIT_SASL_PASSWORD_FILE and LAMPIT_SASL_PASSWORD"
                )
        elif self.sasl_username is not None or passwords:
            raise ValueError("a Kafka user is set: set LAMPIT_SECURITY_PROTOCOL to SASL_SSL, or unset LAMPIT_SASL_*")
        files = (self.ssl_ca_file, self.ssl_certificate_file, self.ssl_key_file)
        if any(files) and not self.security_protocol.endswith("SSL"):
            raise ValueError(
                "certificates are set: set LAMPIT_SECURITY_PROTOCOL to SSL or SASL_SSL, or unset LAMPIT_SSL_*"
            )
        if self.ssl_key_file is not None and self.ssl_certificate_file is None:
            raise ValueError("LAMPIT_SSL_KEY_FILE is set: set LAMPIT_SSL_CERTIFICATE_FILE too")
        return self

    @model_validator(mode="after")
    def _standby(self) -> Self:
        if any(number >= self.partitions for number in self.standby_numbers):
            raise ValueError(
                f"LAMPIT_STANDBY_PARTITIONS names a partition that is none: there are 0 to {self.partitions - 1}"
            )
        return self

    @property
    def standby_numbers(self) -> frozenset[int]:
        """The partitions to keep copies of."""
        if self.standby_partitions == "all":
            return frozenset(range(self.partitions))
        return frozenset(int(number) for number in (self.standby_partitions or "").split(",") if number)

    def sasl_password_text(self) -> str:
        """The Kafka user's password, without the end of line that editors put after it."""
        if self.sasl_password is not None:
            return self.sasl_password.get_secret_value()
        try:
            return (self.sasl_password_file or Path()).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"LAMPIT_SASL_PASSWORD_FILE cannot be read ({getattr(error, 'strerror', None) or 'not a text'}): "
                "name a file that this user may read."
            ) from None

    @property
    def reached_at(self) -> str:
        """Where other processes reach this one's web server."""
        if self.web_url is not None:
            return self.web_url
        host = socket.gethostname() if self.web_host in _EVERY_ADDRESS else self.web_host
        return f"http://[{host}]:{self.web_port}" if ":" in host else f"http://{host}:{self.web_port}"

    def pseudonym_keys(self) -> tuple[bytes, ...]:
        """The keys, oldest first."""
        if self.pseudonym_key is not None:
            return (self.pseudonym_key.get_secret_value().encode(),)
        if self.pseudonym_key_file is None:
            raise ConfigurationError(
                "No pseudonym key is set: name a file of 32 random bytes or more in LAMPIT_PSEUDONYM_KEY_FILE "
                "(`openssl rand -hex 32 > FILE` makes one)."
            )
        keys = tuple(read_key(path, "named by LAMPIT_PSEUDONYM_KEY_FILE") for path in self.pseudonym_key_file)
        if len(set(keys)) < len(keys):
            raise ConfigurationError("LAMPIT_PSEUDONYM_KEY_FILE names one key twice: name each key's file once.")
        return keys


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; `overrides` (a command's options) go before environment and file."""
    _refuse_unknown_variables()
    path = os.environ.get(CONFIG)
    if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise ConfigurationError("LAMPIT_CONFIG names no readable file: give the path of a TOML file, or leave it out.")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error)) from None
    except (SettingsError, ValueError) as error:  # a TOML file that is no TOML
        raise ConfigurationError(
            f"The file named by LAMPIT_CONFIG is not valid TOML ({type(error).__name__}): correct it, or leave it out."
        ) from None


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG}
    for name, value in sorted(os.environ.items()):
        unknown = name.upper().startswith(PREFIX) and name.upper() not in known
        if unknown and not _NO_SETTING.fullmatch(f"{name}={value}"):
            raise ConfigurationError(f"{name} is not a setting: correct the name or unset it.")


def _sentence(error: ValidationError) -> str:
    """The first error as one sentence. pydantic's own messages do not hold the input, neither do ours."""
    first = error.errors(include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ").rstrip(".").replace("Input ", "input ", 1)
    if not first["loc"]:
        return f"{message[:1].upper()}{message[1:]}."
    field = str(first["loc"][0])
    name = f"{PREFIX}{field}".upper()
    if first["type"] == "string_pattern_mismatch":
        message = "it has to be written as told here"  # a regular expression tells an administrator nothing
    message = "it is empty: give it a value, or unset it" if first["input"] in ("", []) else message
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting: correct the name in the file named by LAMPIT_CONFIG or remove it."
    return f"{name} cannot be used: {message} ({Settings.model_fields[field].description})."
