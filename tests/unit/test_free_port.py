"""A port for a server that is about to be started is one that nobody else gets meanwhile."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lampit import broker
from lampit.broker import BrokerError, free_port

CONNECTIONS_FROM = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not CONNECTIONS_FROM.exists(), reason="only Linux says which ports connections get")
def test_the_port_is_none_of_those_that_connections_get() -> None:
    """A page's port was given to a connection of a broker's client: "cannot listen", again and again for 30 s."""
    first, last = map(int, CONNECTIONS_FROM.read_text().split())
    assert not [port for port in (free_port() for _ in range(200)) if first <= port <= last]


def test_a_port_that_is_listened_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(broker, "_SERVER_PORTS", range(port, port + 1))
        with pytest.raises(BrokerError, match="end what holds them"):
            free_port()
    assert free_port() == port


def test_a_port_is_not_given_twice() -> None:
    """Of two agents begun at once one could not listen, once in a few hundred starts."""
    ports = [free_port() for _ in range(1_000)]
    assert len(set(ports)) == len(ports)
