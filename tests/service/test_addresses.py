"""By which names, ports and proxies requests may come, and what browsers are told."""

from pathlib import Path

import pytest

from tests.service.client import Service
from tests.service.conftest import ended_start, free_port, running_service

GREETING = {"text": "Good morning."}


def refusal(**settings: object) -> str:
    """Starts the service with settings that it must refuse. Returns its one line."""
    done = ended_start(**settings)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_without_keys_other_machines_are_not_let_in(host: str) -> None:
    said = refusal(host=host, port=free_port())

    assert "SLIMSEQ_KEYS_FILE" in said and "SLIMSEQ_ALLOW_NO_KEYS" in said


def test_who_says_so_lets_everybody_in_and_is_warned(log: Path) -> None:
    with running_service(log, host="0.0.0.0", allow_no_keys="true") as service:
        assert service.post("/translate", GREETING).status == 200

    assert "requests need no key" in log.read_text()


def test_keys_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    missing, malformed, readable = (tmp_path / name for name in ("missing", "malformed", "readable"))
    malformed.write_text("{")
    malformed.chmod(0o600)
    readable.write_text('{"keys": []}')
    readable.chmod(0o644)

    assert "slimseq keys add" in refusal(keys_file=missing)
    assert "not JSON" in refusal(keys_file=malformed)
    assert "chmod 600" in refusal(keys_file=readable)
    assert "redis://" in refusal(limits_url="memcached://127.0.0.1")
    assert "trusted_proxies" in refusal(trusted_proxies="proxy.example.com")


def test_requests_come_by_a_trusted_name_alone(log: Path) -> None:
    with running_service(log, trusted_hosts="models.example.com, *.internal") as service:
        statuses = {
            name: service.get("/variants", {"Host": name}).status
            for name in (
                "models.example.com",
                "MODELS.example.com:8000",
                "a.internal",
                "internal",
                "evil.example.com",
                "models.example.com.evil",
                "127.0.0.1",
            )
        }
        assert service.get("/healthz", {"Host": "10.0.0.7:8000"}).status == 200

    assert [name for name, status in statuses.items() if status == 200] == [
        "models.example.com",
        "MODELS.example.com:8000",
        "a.internal",
    ]
    assert set(statuses.values()) == {200, 400}


@pytest.mark.parametrize(("proxies", "client"), [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")])
def test_the_address_of_a_client_is_that_of_a_trusted_proxy(log: Path, proxies: str, client: str) -> None:
    with running_service(log, trusted_proxies=proxies) as service:
        service.get("/variants", {"X-Forwarded-For": "203.0.113.9"})

    assert f'"client":"{client}"' in log.read_text()


def test_pages_of_other_sites_are_let_in_by_name(log: Path) -> None:
    origin = {"Origin": "https://example.com"}
    preflight = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with running_service(log, cors_origins="https://example.com") as service:
        asked = service.send("OPTIONS", "/translate", headers=preflight)
        answered = service.post("/translate", GREETING, origin)
        refused = service.post("/translate", {}, origin)
        other = service.post("/translate", GREETING, {"Origin": "https://evil.example"})

    assert asked.status == 200 and asked.headers["access-control-allow-origin"] == "https://example.com"
    assert answered.headers["access-control-allow-origin"] == "https://example.com"
    # A page can read why a request was refused, too.
    assert refused.status == 422 and "access-control-allow-origin" in refused.headers
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
