"""The settings of a command that names its broker in an option.

In: the option and what was given with it. Out: settings; an address that is none is told by the option, not by the setting that
it goes before. Called by the subcommands with --bootstrap or --to.
"""

from __future__ import annotations

from typing import Any, Final

from agents.errors import ConfigurationError
from agents.settings import Settings, load_settings

_SETTING: Final = "LAMPIT_BOOTSTRAP_SERVERS "


def settings_at(option: str, servers: str | None, **others: Any) -> Settings:
    """Settings with these brokers; with those of LAMPIT_BOOTSTRAP_SERVERS where none are given."""
    if not servers:
        return load_settings(**others)
    try:
        return load_settings(bootstrap_servers=servers, **others)
    except ConfigurationError as error:
        if not str(error).startswith(_SETTING):
            raise
        raise ConfigurationError(f"{option} {str(error).removeprefix(_SETTING)}") from None
