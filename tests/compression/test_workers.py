"""Several workers give the same results as one, in an evaluation and in a teacher's outputs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from slimseq.compression.context import Context
from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants
from slimseq.compression.train.sequence_level import teacher_outputs
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import EXAMPLES, tiny_store

TASK = Task.TRANSLATION


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("seconds", "tokens_per_second")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_an_evaluation_by_two_workers_equals_that_by_one_but_for_its_times(embedded: Store, tmp_path: Path) -> None:
    found, written = [], []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.jsonl"
        options = EvaluateOptions(samples=40, outputs=path, generation={"num_beams": 1})
        context = Context(embedded, workers=workers)
        evaluation = evaluate_variants(context, TASK, ["quantized", "compact"], options).evaluation
        found.append(without_times(evaluation.model_dump(mode="json")))
        written.append(path.read_bytes())

    assert found[0] == found[1]
    assert written[0] == written[1]
    assert written[0]


def test_a_teacher_of_two_workers_writes_what_one_writes(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)

    one, two = (
        teacher_outputs(replace(context, workers=workers), TASK, "original", EXAMPLES * 5, tmp_path / f"{workers}")
        for workers in (1, 2)
    )

    assert one == two
    assert one
