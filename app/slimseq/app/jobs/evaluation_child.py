"""`python -m slimseq.app.jobs.evaluation_child`: one quality evaluation, in a process that may be killed at any time.

It reads an `EvaluationOrder` and the posted pairs from standard input, which stays open while the service runs. It
writes JSON lines to standard output: `progress` several times, then a `result`, the class name of an `error` with its
`detail`, or the traceback of a `crash`. `slimseq.app.jobs.evaluation_process` starts it.
"""

import json
import os
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from slimseq.app.jobs.evaluation_process import EvaluationOrder
from slimseq.app.jobs.low_priority import Write, message_writer
from slimseq.app.serving.documents.plan import planning
from slimseq.app.serving.documents.planner import finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.examples import DatasetSample, Example
from slimseq.evaluation.host import bound_heaps
from slimseq.evaluation.run import Generate, evaluate
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# Sentences that are generated at once.
BATCH_ROWS = 16
# No limit: the number of words in a text bounds its sentences.
MAX_ROWS = 1_000_000


def main() -> None:
    """Runs the evaluation that standard input describes."""
    bound_heaps()
    write = message_writer()
    with os.fdopen(0, "rb", closefd=False) as given:
        order = EvaluationOrder.of_line(given.readline())
        pairs = given.read(order.pair_bytes)
    threading.Thread(target=_end_with_input, daemon=True, name="end with input").start()
    run(order, pairs, write)


def run(order: EvaluationOrder, pairs: bytes, write: Write) -> None:
    """Evaluates, and writes progress and result."""
    try:
        task, store = Task(order.task), Store(Path(order.store))
        sample = _sample(order, task, pairs)
        systems = {
            variant: _system(open_generator(store, task, variant, runtime, threads=1))
            for variant, runtime in order.runtimes.items()
        }
        found = evaluate(
            task,
            sample,
            systems,
            order.references,
            progress=lambda done, whole: write({"progress": round(done / whole, 4)}),
        )
        write({"result": found.model_dump(mode="json")})
    except SlimseqError as error:
        write({"error": type(error).__name__, "detail": str(error)})
    except Exception:
        write({"crash": traceback.format_exc()})


def _sample(order: EvaluationOrder, task: Task, pairs: bytes) -> DatasetSample:
    if not pairs:
        return load_examples(task, order.dataset, samples=order.samples)
    return DatasetSample(
        order.dataset, "posted", tuple(Example(source, target) for source, target in json.loads(pairs))
    )


def _system(generator: TextGenerator) -> Generate:
    """Returns a function that generates as the service does, with the variant's default options."""

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        prompt = Prompt(texts=[example.source for example in examples])
        planned = finished(planning(generator, prompt, MAX_ROWS))
        outputs = [
            output
            for start in range(0, len(planned.rows), BATCH_ROWS)
            for output in generator.generate(planned.rows[start : start + BATCH_ROWS], planned.options)
        ]
        return planned.assemble(outputs)

    return generate


def _end_with_input() -> None:
    # Not through `sys.stdin`, whose lock would block the end of the interpreter.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
