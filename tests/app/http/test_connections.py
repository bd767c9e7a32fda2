"""Which connection is closed above the limit, and whether the new one may be used."""

from typing import Any

from slimseq.app.http.connections import ConnectionLimits, Connections


class Connection:
    """What `Connections` reads of a connection and of its transport."""

    def __init__(self, address: str) -> None:
        self.client = (address, 50_000)
        self.transport = self
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def connection_from(address: str) -> Any:
    return Connection(address)


def connections_up_to(count: int) -> Connections:
    return Connections(ConnectionLimits(connections=count, header_bytes=1000, header_seconds=1, stall_seconds=1))


def test_the_longest_waiting_connection_of_the_network_with_most_of_them_is_closed_for_a_new_one() -> None:
    connections = connections_up_to(3)
    lonely, first, second = (connection_from(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.2"))
    for connection in (lonely, first, second):
        connections.opened(connection)
        connections.waiting[connection] = None

    assert connections.opened(connection_from("192.0.2.3"))

    assert first.is_aborted
    assert not lonely.is_aborted
    assert not second.is_aborted


def test_a_new_connection_is_rejected_if_no_other_one_waits_for_its_client() -> None:
    connections = connections_up_to(1)
    busy = connection_from("192.0.2.1")
    connections.opened(busy)

    assert not connections.opened(connection_from("192.0.2.2"))

    assert not busy.is_aborted


def test_connections_that_wait_do_not_keep_a_new_one_out_after_one_was_rejected() -> None:
    connections = connections_up_to(1)
    busy, rejected = connection_from("192.0.2.1"), connection_from("192.0.2.2")
    connections.opened(busy)
    connections.opened(rejected)
    # The rejected connection waits for its client to read the error, and then the response of the other one is sent.
    connections.waiting[rejected] = None
    connections.waiting[busy] = None

    assert connections.opened(connection_from("192.0.2.3"))

    # One connection is closed for each new one, so two are open now.
    assert rejected.is_aborted
    assert not busy.is_aborted
