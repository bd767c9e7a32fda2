import os
import subprocess
import sys

from tests.service.client import Service
from tests.service.conftest import free_port


def checked(port: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "slimseq.app.healthcheck"],
        env=os.environ | {"SLIMSEQ_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_ready_service_is_healthy(service: Service) -> None:
    assert checked(service.port).returncode == 0


def test_a_port_where_nothing_answers_is_not(service: Service) -> None:
    done = checked(free_port())

    assert done.returncode == 1
    assert done.stderr.startswith("not ready: ")
