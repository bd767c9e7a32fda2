"""Generation of the offline side in the processes of a Ray cluster."""

import pytest

from slimseq.compression.context import Workers
from slimseq.compression.generation_workers import WorkerModel, WorkersFailed, generate_in_workers
from slimseq.evaluation.dataset_files import Example
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from tests.app.cluster.nodes import Nodes
from tests.service.conftest import free_port

EXAMPLES = [Example(f"There are {number} books on the table.", "") for number in range(16)]


def model(store: Store, variant: str = "compact") -> WorkerModel:
    options = GenerationOptions(num_beams=1, max_new_tokens=20)
    return WorkerModel(store.root, Task.TRANSLATION, variant, "ctranslate2", options, batch=4)


def test_outputs_of_a_cluster_are_those_of_processes_of_this_machine(nodes: Nodes, embedded: Store) -> None:
    work = [(model(embedded), EXAMPLES[start : start + 4]) for start in range(0, 16, 4)]

    here, there = (
        [outputs for outputs, _ in generate_in_workers(workers, work)]
        for workers in (Workers(2), Workers(2, nodes.cluster.address))
    )

    assert there == here


def test_a_model_that_a_task_cannot_open_is_named(nodes: Nodes, embedded: Store) -> None:
    workers = Workers(2, nodes.cluster.address)

    with pytest.raises(WorkersFailed, match="translation/missing in a worker: translation has no variant 'missing'"):
        list(generate_in_workers(workers, [(model(embedded, "missing"), EXAMPLES)]))


def test_a_cluster_that_is_not_there_is_named_at_once(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(WorkersFailed, match=f"no Ray cluster at {address}: .*refused"):
        list(generate_in_workers(Workers(2, address), [(model(embedded), EXAMPLES)]))
