"""nginx with `deploy/proxy/nginx.conf` in front of a service."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.store import Store
from tests.deploy.conftest import ROOT
from tests.service.client import Service
from tests.service.conftest import free_port, running_service
from tests.service.raw import answer_of, connect, head

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
CONFIGURATION = ROOT / "deploy" / "proxy" / "nginx.conf"


@contextmanager
def nginx_before(tmp_path: Path, *services: Service) -> Iterator[Service]:
    """Runs nginx in front of services until the block ends. In docker-compose.yml, one name is for all of them."""
    port = free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    [server] = [line for line in text.splitlines() if "server service:8000" in line]
    servers = [server.replace("service:8000", f"127.0.0.1:{service.port}") for service in services]
    text = text.replace(server, "\n".join(servers))
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{tmp_path}/")
    (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
    command = ["nginx", "-e", "stderr", "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    nginx = subprocess.Popen(command)
    try:
        proxy = Service(port, nginx)
        proxy.wait_until_answering()
        yield proxy
    finally:
        nginx.terminate()
        nginx.wait(20)


@pytest.fixture
def proxied(embedded: Store, tmp_path: Path) -> Iterator[Service]:
    with (
        running_service(tmp_path / "log", store=embedded.root, trusted_proxies="127.0.0.1") as service,
        nginx_before(tmp_path, service) as proxy,
    ):
        yield proxy


def test_answers_streams_and_addresses_pass_and_attacks_do_not(proxied: Service, tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9"}
    body = json.dumps({"text": "Good morning."}).encode()

    answer = proxied.post("/translate", {"text": "Good morning."}, forged)
    streamed = proxied.post("/translate", {"text": "Good morning.", "stream": True})
    too_large = proxied.post("/translate", {"text": "a" * 9_000_000})
    with connect(proxied) as connection:
        upgrade = ("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(body)}")
        connection.sendall(head("POST", "/translate", *upgrade) + body + head("GET", "/healthz"))
        upgraded = answer_of(connection).status, answer_of(connection).status

    assert answer.status == 200 and "203.0.113.9" not in (tmp_path / "log").read_text()
    assert streamed.events[-1][0] == "done"
    assert too_large.status == 413
    assert upgraded == (200, 200)


def test_requests_go_to_all_services_and_a_killed_one_fails_none_that_come_later(
    embedded: Store, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "store": embedded.root,
        "trusted_proxies": "127.0.0.1",
        "database_url": f"sqlite:///{tmp_path}/all.db",
    }
    with (
        running_service(tmp_path / "first.log", **settings) as first,
        running_service(tmp_path / "second.log", **settings) as second,
        nginx_before(tmp_path, first, second) as proxy,
    ):
        before = [proxy.post("/translate", {"text": "Good morning."}).status for _ in range(8)]
        shares = [translations(service) for service in (first, second)]
        second.process.kill()
        second.process.wait()
        after = [proxy.post("/translate", {"text": "Good morning."}).status for _ in range(8)]
        total = translations(first)

    assert before == after == [200] * 8
    assert shares == [4, 4] and total == 12


def translations(service: Service) -> int:
    """Returns how many translations a service has answered."""
    lines = service.get("/metrics").text.splitlines()
    start = 'slimseq_requests_total{method="POST",route="/translate",status="2xx"} '
    return sum(int(float(line.removeprefix(start))) for line in lines if line.startswith(start))
