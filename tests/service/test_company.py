"""Outputs are batch-invariant: each request gets the answer, byte for byte, that it gets when nothing else is served.

The requests mix what could break that: shortlists, prompt lookup, beams, penalties, stop strings and streams.
"""

import json
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from slimseq.compression.context import Context
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.shortlists import add_shortlist
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.service.test_streaming import streamed

REQUESTS = 3000
CLIENTS = 24
CHANGES: list[dict[str, Any]] = [{}, {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.3}, {"stop": ["e"]}]
OPTIONS = [{"num_beams": beams, **each} for beams in (1, 4) for each in [*CHANGES, {"stream": True}]]


def distinct_requests() -> list[tuple[str, dict[str, Any]]]:
    """The same 10 sentences with and without a shortlist, 10 more with one, and 10 documents."""
    sentences = [each.source for each in load_examples(Task.TRANSLATION, "sample").examples]
    documents = [each.source for each in load_examples(Task.SUMMARIZATION, "sample").examples]
    pairs = [
        *(("/translate?variant=shortlisted", text) for text in sentences[:10]),
        *(("/translate?variant=quantized", text) for text in sentences[:10]),
        *(("/summarize?variant=quantized", text) for text in documents[:10]),
        *(("/translate?variant=shortlisted", text) for text in sentences[10:20]),
    ]
    requests = []
    for number, (path, text) in enumerate(pairs):
        # Short inputs and outputs, so that thousands of requests take seconds.
        options = OPTIONS[number % len(OPTIONS)]
        requests.append((path, {"text": text[:500], "max_new_tokens": 40, **options}))
    return requests


def answer(service: Service, path: str, body: dict[str, Any]) -> str:
    """Returns the outputs of an answer, and the pieces of a stream, without ids and times."""
    response = service.post(path, body)
    assert response.status == 200, response.text
    if "stream" in body:
        _, last_event = response.events[-1]
        return json.dumps([last_event["outputs"], streamed(response)])
    return json.dumps([response.json["outputs"], None])


def mean(metrics: str, name: str, task: str, variant: str) -> float:
    """The mean of a histogram of `GET /metrics`."""
    count, total = re.findall(rf'slimseq_{name}_(?:count|sum){{task="{task}",variant="{variant}"}} (\S+)', metrics)
    return float(total) / float(count)


def test_3000_mixed_requests_get_the_answers_that_each_gets_alone(embedded: Store, tmp_path: Path) -> None:
    context = Context(Store(tmp_path / "artifacts"))
    for task in Task:
        shutil.copytree(embedded.folder(task, "quantized"), context.store.folder(task, "quantized"))
    examples = load_examples(Task.TRANSLATION, "sample").examples
    add_shortlist(context, "quantized", "shortlisted", [(each.source, each.target) for each in examples])
    distinct = distinct_requests()
    places = random.Random(0).choices(range(len(distinct)), k=REQUESTS)
    with running_service(tmp_path / "log", store=context.store.root) as service:
        alone = [answer(service, *request) for request in distinct]

        with ThreadPoolExecutor(CLIENTS) as threads:
            together = list(threads.map(lambda place: answer(service, *distinct[place]), places))
        metrics = service.get("/metrics").text

    assert [place for place, found in zip(places, together, strict=True) if found != alone[place]] == []
    # The test says something: answers differ, the shortlist changes some, drafts are accepted, and rows share batches.
    assert len(set(alone)) > 25
    assert alone[:10] != alone[10:20]
    assert mean(metrics, "accepted_tokens_per_step", "summarization", "quantized") > 1.5
    assert mean(metrics, "batch_rows", "translation", "shortlisted") > 1.5
