import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.context import Context, Workers
from slimseq.compression.generation_workers import WorkerModel, WorkersFailed, generate_in_workers
from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants
from slimseq.evaluation.dataset_files import Example
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import invoked

TASK = Task.TRANSLATION
EXAMPLES = [Example(f"There are {number} books on the table.", "") for number in range(40)]


def model(store: Store, variant: str = "compact") -> WorkerModel:
    return WorkerModel(
        store.root, TASK, variant, "ctranslate2", GenerationOptions(num_beams=1, max_new_tokens=20), batch=4
    )


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("seconds", "tokens_per_second")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_an_evaluation_in_two_processes_equals_that_in_one_but_for_its_times(embedded: Store, tmp_path: Path) -> None:
    found, written = [], []
    for count in (1, 2):
        context = Context(embedded, workers=Workers(count))
        path = tmp_path / f"{count}.jsonl"
        options = EvaluateOptions(samples=20, outputs=path, generation={"num_beams": 1})
        evaluation = evaluate_variants(context, TASK, ["quantized", "compact"], options).evaluation
        found.append(without_times(evaluation.model_dump(mode="json")))
        # The first line has the time.
        written.append(path.read_bytes().partition(b"\n")[2])

    assert found[0] == found[1]
    assert written[0] == written[1] and written[0]


def test_a_model_that_a_worker_cannot_open_is_named(embedded: Store) -> None:
    with pytest.raises(WorkersFailed, match="translation/missing in a worker: translation has no variant 'missing'"):
        list(generate_in_workers(Workers(2), [(model(embedded, "missing"), EXAMPLES)]))


def test_a_killed_worker_ends_the_work_with_a_reason(embedded: Store) -> None:
    results = generate_in_workers(Workers(2), [(model(embedded), EXAMPLES)] * 40)
    next(results)

    for process in multiprocessing.active_children():
        process.kill()

    with pytest.raises(WorkersFailed, match="use fewer --workers"):
        list(results)


def test_the_command_line_refuses_no_workers_and_a_cluster_without_ray(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "translation", "compact", "--store", str(embedded.root), "--samples", "2", "--workers")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("RAY_ADDRESS", "auto")

    assert "--workers" in invoked(*words, "0").error
    assert "[cluster]'" in invoked(*words, "2").error
