"""Answers are the same, byte for byte, whatever else is served: shortlists, drafts, beams, samples and streams."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from slimseq.compression.context import Context
from slimseq.compression.shortlist import ParallelData, ShortlistOptions, shortlist
from slimseq.compression.technique import Job
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.service.test_streaming import streamed

REQUESTS, CLIENTS = 3000, 24
Request = tuple[str, dict[str, Any]]
TRANSLATION_OPTIONS: list[dict[str, Any]] = [
    {"num_beams": 1},
    {"num_beams": 4},
    {"num_beams": 4, "no_repeat_ngram_size": 2},
    {"num_beams": 1, "repetition_penalty": 1.3},
    {"num_beams": 1, "do_sample": True, "temperature": 1.2, "seed": 7},
    {"num_beams": 1, "stream": True},
    {"num_beams": 3, "num_return_sequences": 2},
    {"num_beams": 1, "stop": ["e"]},
]
SUMMARY_OPTIONS: list[dict[str, Any]] = [
    {"num_beams": 1, "max_new_tokens": 48},
    {"num_beams": 1, "max_new_tokens": 48, "min_new_tokens": 24},
    {"num_beams": 1, "max_new_tokens": 48, "stream": True},
    {"num_beams": 2, "max_new_tokens": 24},
]


@pytest.fixture(scope="module")
def served(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the summarizer, and the translator with and without a shortlist, all in int8."""
    folder = tmp_path_factory.mktemp("company")
    context = Context(Store(folder / "artifacts"))
    for task in Task:
        shutil.copytree(embedded.folder(task, "quantized"), context.store.folder(task, "quantized"))
    data = folder / "pairs.jsonl"
    pairs = load_examples(Task.TRANSLATION, "sample").examples
    data.write_text("".join(json.dumps({"source": each.source, "target": each.target}) + "\n" for each in pairs))
    job = Job(context, Task.TRANSLATION, "quantized", "shortlisted", ParallelData([str(data)]))
    shortlist(job, ShortlistOptions())
    with running_service(folder / "log", store=context.store.root) as service:
        yield service


def distinct_requests() -> list[Request]:
    """24 to the translator with a shortlist, 8 to that without, and 8 to the summarizer."""
    sentences, documents = (
        [each.source for each in load_examples(task, "sample").examples]
        for task in (Task.TRANSLATION, Task.SUMMARIZATION)
    )
    paths = [*["/translate?variant=shortlisted"] * 24, *["/translate?variant=quantized"] * 8]
    made = [
        (path, {"text": sentences[place % 24 :][: 1 + place % 3], **TRANSLATION_OPTIONS[place % 8]})
        for place, path in enumerate(paths)
    ]
    return made + [
        ("/summarize?variant=quantized", {"text": documents[place][:600], **SUMMARY_OPTIONS[place % 4]})
        for place in range(8)
    ]


def answer(service: Service, request: Request) -> str:
    """The outputs of an answer, and the text of a stream, without ids and times."""
    path, body = request
    response = service.post(path, body)
    assert response.status == 200, response.text
    if not body.get("stream"):
        return json.dumps(response.json["outputs"])
    return json.dumps([streamed(response), response.events[-1][1]["outputs"]])


def means(service: Service, name: str) -> dict[str, float]:
    """The mean of a metric by task and variant."""
    series = re.findall(rf'{name}_(sum|count)\{{task="(\w+)",variant="(\w+)"\}} (\S+)', service.get("/metrics").text)
    found = {(kind, f"{task}/{variant}"): float(value) for kind, task, variant, value in series}
    return {key: total / found["count", key] for (kind, key), total in found.items() if kind == "sum"}


def test_3000_mixed_requests_get_the_answers_that_each_gets_alone(served: Service) -> None:
    distinct = distinct_requests()
    alone = [answer(served, request) for request in distinct]
    # Summaries take longest.
    places = random.Random(0).choices(range(len(distinct)), [4] * 32 + [1] * 8, k=REQUESTS)

    with ThreadPoolExecutor(CLIENTS) as threads:
        together = list(threads.map(lambda place: answer(served, distinct[place]), places))

    assert [place for place, found in zip(places, together, strict=True) if found != alone[place]] == []
    assert len(set(alone)) == len(distinct) == 40
    assert alone[:8] != alone[24:32]
    assert means(served, "slimseq_accepted_tokens_per_step")["summarization/quantized"] > 1.5
    assert means(served, "slimseq_batch_rows")["translation/shortlisted"] > 4
