"""How many connections the limit of file descriptors allows."""

import resource

import pytest

from slimseq.app.http.descriptors import RESERVED, allow_connections

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised"),
    [
        pytest.param(1024, 4096, 512, 1024, id="high enough"),
        pytest.param(256, 4096, 512, 512 + RESERVED, id="raised"),
        pytest.param(256, UNLIMITED, 512, 512 + RESERVED, id="raised without a hard limit"),
        pytest.param(256, 300, 300 - RESERVED, 300, id="raised to the hard limit"),
        pytest.param(256, 256, 256 - RESERVED, 256, id="at the hard limit"),
        pytest.param(64, 64, 32, 64, id="very few"),
        pytest.param(UNLIMITED, UNLIMITED, 512, UNLIMITED, id="unlimited"),
    ],
)
def test_the_limit_is_raised_as_far_as_allowed_and_else_there_are_fewer_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int, raised: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, given: limits.append(given))

    allowed = allow_connections(512)

    assert (allowed, limits[-1]) == (connections, (raised, hard))
