"""What the brokers refuse for good because of a setting or a right, told as such.

In: an error of aiokafka's, raised in the calls of a consumer. Out: ConfigurationError, one sentence with the setting and the
remedy, in its place; every other error as it is. Not in here: what is tried again. Called by agents/driver_thread.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka.errors import GroupAuthorizationFailedError, InvalidSessionTimeoutError, TopicAuthorizationFailedError

from agents.errors import ConfigurationError
from agents.settings import Settings

_ANOTHER_USER: Final = "or set LAMPIT_SASL_USERNAME, or LAMPIT_SSL_CERTIFICATE_FILE, to a user that has it"


@contextmanager
def refusals_told(settings: Settings, group: str) -> Iterator[None]:
    """Raise ConfigurationError for what a restart does not mend."""
    try:
        yield
    except InvalidSessionTimeoutError as error:
        raise ConfigurationError(
            f"LAMPIT_SESSION_TIMEOUT_SECONDS={settings.session_timeout_seconds} is refused by the brokers: set it to what "
            "their group.min.session.timeout.ms and group.max.session.timeout.ms allow, or change these."
        ) from error
    except GroupAuthorizationFailedError as error:
        raise ConfigurationError(
            f"The group {group} is closed to this user: give it the right to read groups that begin with "
            f"{settings.group_prefix} (LAMPIT_GROUP_PREFIX), {_ANOTHER_USER}."
        ) from error
    except TopicAuthorizationFailedError as error:
        raise ConfigurationError(
            f"The topic {_named(error)} is closed to this user: give it the right to read and describe topics that begin with "
            f"lampit., {_ANOTHER_USER}."
        ) from error


def _named(error: TopicAuthorizationFailedError) -> str:
    """aiokafka names one topic, or a set of them."""
    named = error.args[0] if error.args else ""
    return named if isinstance(named, str) else ", ".join(sorted(named))
