"""How every client of this process reaches Kafka: addresses, TLS, a user.

In: settings. Out: the options that aiokafka and kafka-python want for it; `closed`, to wait for one of aiokafka's to stop;
`telling_of_wait`, for who waits for the first answer.
Whatever talks to Kafka takes them from here, so that one setting secures all of it. A file that cannot be read, or a key that
does not fit its certificate, is a ConfigurationError.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any, Final

from agents.errors import ConfigurationError
from agents.settings import Settings
from agents.threads import is_cancelled

CLOSE_SECONDS_MAX: Final = 1.0
"""Of a client that has nothing to finish."""

TELL_AFTER_SECONDS: Final = 3.0
"""Of waiting for a broker without a word."""


async def closed(stop: Awaitable[object], seconds_max: float = CLOSE_SECONDS_MAX) -> None:
    """Wait for a client to stop, but not for a broker's goodbye.

    With TLS asyncio waits for that up to 30 s, and a broker says it only behind the answer to a fetch that it still holds. The
    connection ends by itself then.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds_max):
            try:
                await stop
            except asyncio.CancelledError:
                # aiokafka lets its own out where a fetch that failed waits to be tried again: nobody is to end of that.
                if is_cancelled():
                    raise


@contextmanager
def telling_of_wait(settings: Settings, seconds_max: float) -> Iterator[None]:
    """Say on standard error what is waited for inside, and how long it may take, once that is more than a moment."""
    line = f"waiting for a broker at {settings.bootstrap_servers}, up to {seconds_max:.0f} s ...\n"
    # Not by the log: commands that write to a terminal leave their log out.
    timer = Timer(TELL_AFTER_SECONDS, lambda: sys.stderr.write(line))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def for_aiokafka(settings: Settings) -> dict[str, Any]:
    """Options of an aiokafka consumer or producer."""
    return {"bootstrap_servers": settings.bootstrap_servers, **_security(settings)}


def for_kafka_python(settings: Settings) -> dict[str, Any]:
    """Options of a kafka-python client."""
    return {"bootstrap_servers": settings.bootstrap_servers.split(","), **_security(settings)}


def _security(settings: Settings) -> dict[str, Any]:
    """Both libraries name these alike."""
    options: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password_text(),
        }
    return options


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"LAMPIT_SSL_CA_FILE cannot be used ({_reason(error)}): name a PEM file of certificates, or leave it out."
        ) from None
    if settings.ssl_certificate_file is not None:
        try:
            context.load_cert_chain(settings.ssl_certificate_file, settings.ssl_key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"LAMPIT_SSL_CERTIFICATE_FILE and LAMPIT_SSL_KEY_FILE cannot be used ({_reason(error)}): "
                "name PEM files of a certificate and its key."
            ) from None
    return context


def _reason(error: OSError) -> str:
    """Without the path: OpenSSL's word, or the system's."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
