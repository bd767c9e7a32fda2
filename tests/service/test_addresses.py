"""Which hosts, proxies and sites may send requests, and the security headers that browsers get."""

from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service
from tests.service.conftest import ended_start, free_port, running_service

GREETING = {"text": "Good morning."}


def refusal(**settings: object) -> str:
    """Starts the service with settings that it must refuse. Returns its one line."""
    done = ended_start(**settings)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_without_keys_other_machines_are_not_let_in(host: str) -> None:
    said = refusal(host=host, port=free_port())

    assert "SLIMSEQ_KEYS_FILE" in said
    assert "SLIMSEQ_ALLOW_NO_KEYS" in said


def test_what_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    readable = tmp_path / "readable"
    readable.write_text('{"keys": []}')
    readable.chmod(0o644)

    assert "chmod 600" in refusal(keys_file=readable)
    assert "none.pem cannot be used" in refusal(trusted_keys="none.pem")
    assert "redis://" in refusal(limits_url="memcached://127.0.0.1")
    assert "trusted_proxies" in refusal(trusted_proxies="proxy.example.com")


def test_an_operator_says_by_which_addresses_names_and_pages_requests_may_come(log: Path) -> None:
    names = {"models.example.com", "MODELS.example.com:8000", "a.internal"}
    strangers = {"internal", "evil.example.com", "models.example.com.evil", "127.0.0.1"}
    origin = {"Origin": "https://example.com", "Host": "a.internal"}
    preflight = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    settings: dict[str, Any] = {
        "host": "0.0.0.0",
        "allow_no_keys": "true",
        "trusted_hosts": "models.example.com, *.internal",
        "trusted_proxies": "127.0.0.0/8",
        "cors_origins": "https://example.com",
    }
    with running_service(log, **settings) as service:
        statuses = {name: service.get("/variants", {"Host": name}).status for name in names | strangers}
        probe = service.get("/healthz", {"Host": "10.0.0.7:8000"})
        service.get("/variants", {"Host": "a.internal", "X-Forwarded-For": "203.0.113.9"})
        asked = service.send("OPTIONS", "/translate", headers=preflight)
        answered = service.post("/translate", GREETING, origin)
        refused = service.post("/translate", {}, origin)
        other = service.post("/translate", GREETING, {**origin, "Origin": "https://evil.example"})

    assert "requests need no key" in log.read_text()
    assert {name for name, status in statuses.items() if status == 200} == names
    assert {statuses[name] for name in strangers} == {400}
    assert probe.status == 200
    assert '"client":"203.0.113.9"' in log.read_text()
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == "https://example.com"
    assert answered.headers["access-control-allow-origin"] == "https://example.com"
    # A page can read why a request was refused, too.
    assert refused.status == 422
    assert "access-control-allow-origin" in refused.headers
    assert "access-control-allow-origin" not in other.headers


def test_other_sites_are_not_let_in_by_default(service: Service) -> None:
    answer = service.post("/translate", GREETING, {"Origin": "https://example.com"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_browsers_are_told_to_run_and_frame_nothing(service: Service) -> None:
    answers = [service.get("/variants"), service.get("/nothing"), service.post("/translate", {}), service.get("/")]

    for answer in answers:
        assert answer.headers["content-security-policy"].startswith(("default-src 'none'", "default-src 'self'"))
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
