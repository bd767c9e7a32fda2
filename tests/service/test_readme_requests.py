"""README's requests, as they are written, and what README says that they answer."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8000"
# A block of commands, and the answer that README may show right after it.
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```(?:\n\n```json\n(?P<answer>.*?)```)?", re.DOTALL)
REQUESTS = [(found["command"], found["answer"]) for found in BLOCK.finditer(README)]


@pytest.mark.parametrize(("command", "answer"), REQUESTS, ids=[f"request{number}" for number in range(len(REQUESTS))])
def test_a_request_of_readme_answers_as_it_says(service: Service, command: str, answer: str | None) -> None:
    assert ADDRESS in command

    done = subprocess.run(
        ["bash", "-ec", command.replace(ADDRESS, f"127.0.0.1:{service.port}")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    answered = json.loads(done.stdout)
    assert "status" not in answered or answered["status"] in ("queued", "running"), answered
    if answer is not None:
        assert texts(answered) == texts(json.loads(answer))


def test_readme_shows_requests_and_answers() -> None:
    assert len(REQUESTS) >= 1 and any(answer for _, answer in REQUESTS)


def texts(answer: Any) -> Any:
    """What an answer generated, without what depends on the machine: digests, which CPUs change, and times."""
    if "results" in answer:
        return [texts(each) for each in answer["results"]]
    return answer["task"], answer["variant"], [output["text"] for output in answer["outputs"]]
