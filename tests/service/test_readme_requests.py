"""The requests of README and of the serving guide, as they are written, and what is said there that they answer."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service

README, GUIDE = (
    (Path(__file__).parents[2] / page).read_text(encoding="utf-8") for page in ("README.md", "docs/guides/serve.md")
)
ADDRESS = "127.0.0.1:8000"
# A block of commands, and the answer that README may show right after it.
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```(?:\n\n```json\n(?P<answer>.*?)```)?", re.DOTALL)
REQUESTS = [
    (found["command"], found["answer"])
    for found in (*BLOCK.finditer(README), *filter(lambda block: block["answer"], BLOCK.finditer(GUIDE)))
]
# A row of the guide's table: a source, and its translations without and with protected facts.
FACTS = re.findall(
    r"^\| ([A-Z].+) \| (.+) \| (.+) \|$", GUIDE.partition("unedited:")[2].partition("\n`python")[0], re.M
)


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


@pytest.mark.parametrize(("source", "plain", "protected"), FACTS)
def test_the_table_of_facts_has_what_is_answered(service: Service, source: str, plain: str, protected: str) -> None:
    answers = (
        service.post("/translate?variant=quantized", {"text": source, "protect": each}) for each in (False, True)
    )

    assert [answer.json["outputs"][0]["text"] for answer in answers] == [plain, protected]


def test_readme_shows_requests_and_answers() -> None:
    assert len(FACTS) == 9 and any(answer for _, answer in REQUESTS)


def texts(answer: Any) -> Any:
    """What an answer generated, without what depends on the machine: digests, which CPUs change, and times."""
    if "results" in answer:
        return [texts(each) for each in answer["results"]]
    return [output["text"] for output in answer["outputs"]]
