import logging
import time
from unittest.mock import Mock

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slimseq.app.http.protocol import LOG_SECONDS, ConnectionLimits, Connections

LIMITS = ConnectionLimits(connections=2, header_bytes=1024, header_seconds=1, stall_seconds=1)


class Client(HttpToolsProtocol):
    """A connection that remembers whether it was closed."""

    def __init__(self) -> None:
        self.client = ("192.0.2.1", 50_000)
        self.aborted = Mock()
        self.transport = Mock(abort=self.aborted)

    @property
    def is_dropped(self) -> bool:
        return bool(self.aborted.called)


def opened(shared: Connections, number: int) -> list[Client]:
    clients = [Client() for _ in range(number)]
    for client in clients:
        assert shared.opened(client)
        shared.mark_idle(client)
    return clients


def test_at_the_limit_the_connection_that_has_waited_longest_makes_room() -> None:
    shared = Connections(LIMITS)
    first, second = opened(shared, 2)
    shared.mark_busy(first)
    shared.mark_idle(first)

    is_open = shared.opened(Client())

    assert is_open and second.is_dropped and not first.is_dropped


def test_connections_with_requests_are_never_closed_for_a_new_one() -> None:
    shared = Connections(LIMITS)
    clients = opened(shared, 2)
    for client in clients:
        shared.mark_busy(client)

    is_open = shared.opened(Client())

    assert not is_open and not any(client.is_dropped for client in clients)


def test_a_connection_whose_request_is_not_complete_is_closed_for_a_new_one() -> None:
    shared = Connections(LIMITS)
    slow, idle = opened(shared, 2)
    shared.mark_receiving(slow)

    assert shared.opened(Client())
    assert idle.is_dropped and not slow.is_dropped
    assert shared.opened(Client())
    assert slow.is_dropped


def test_refused_connections_that_are_not_closed_yet_make_no_room() -> None:
    shared = Connections(LIMITS)
    for client in opened(shared, 2):
        shared.mark_busy(client)

    for _ in range(10):
        refused = Client()
        assert not shared.opened(refused)
        shared.mark_idle(refused)


def test_a_closed_connection_makes_room() -> None:
    shared = Connections(LIMITS)
    clients = opened(shared, 2)
    for client in clients:
        shared.mark_busy(client)
    shared.closed(clients[0])

    assert shared.opened(Client())


def test_a_limit_is_logged_once_in_a_while_with_how_often_it_was_reached(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Connections(LIMITS)
    seconds = iter([100.0, 101, 102, 103, 100 + LOG_SECONDS])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))

    with caplog.at_level(logging.WARNING):
        for limit in ("too slow", "too slow", "too large", "too slow", "too slow"):
            shared.log(limit, ("192.0.2.1", 50_000))

    assert [(record.message, vars(record)["unlogged"]) for record in caplog.records] == [
        ("too slow", 0),
        ("too large", 0),
        ("too slow", 2),
    ]
