"""`python -m slimseq.app.jobs.evaluation_child`: one quality evaluation, in a process that may be killed at any time.

Standard input brings an `EvaluationOrder` and the posted pairs, and stays open as long as the service lives. Standard
output takes one JSON object a line: `progress` again and again, then a `result`, an `error` of ours or the trace of a
`crash`. The service's side is `slimseq.app.jobs.evaluation_process`.
"""

import json
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slimseq.app.jobs.evaluation_order import EvaluationOrder
from slimseq.app.serving.plan import planning
from slimseq.app.serving.planner import finished
from slimseq.app.serving.prompt import Prompt
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.examples import DatasetSample, Example
from slimseq.evaluation.host import bound_heaps
from slimseq.evaluation.run import Generate, evaluate
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

Say = Callable[[dict[str, Any]], None]

# Sentences of a chunk's texts that are generated at once.
BATCH_ROWS = 16
# Sentences of a chunk's texts, which are bounded by the words of a text.
MOST_ROWS = 1_000_000


def main() -> None:
    """Runs the evaluation that standard input asks for."""
    bound_heaps()
    say = _speaker()
    with os.fdopen(0, "rb", closefd=False) as given:
        order = EvaluationOrder.of_line(given.readline())
        pairs = given.read(order.pair_bytes)
    threading.Thread(target=_end_with_input, daemon=True, name="end with input").start()
    run(order, pairs, say)


def run(order: EvaluationOrder, pairs: bytes, say: Say) -> None:
    """Evaluates, and says how far it is and what came of it."""
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
            progress=lambda done, whole: say({"progress": round(done / whole, 4)}),
        )
        say({"result": found.model_dump(mode="json")})
    except SlimseqError as error:
        about = {"status": error.status, "title": error.title, "detail": str(error)}
        say({"error": {"kind": type(error).__name__, **about}})
    except Exception:
        say({"crash": traceback.format_exc()})


def _sample(order: EvaluationOrder, task: Task, pairs: bytes) -> DatasetSample:
    if not pairs:
        return load_examples(task, order.dataset, samples=order.samples)
    return DatasetSample(
        order.dataset, "posted", tuple(Example(source, target) for source, target in json.loads(pairs))
    )


def _system(generator: TextGenerator) -> Generate:
    """Generates as the service does: a translation sentence by sentence, with the variant's own options."""

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        prompt = Prompt(texts=[example.source for example in examples])
        planned = finished(planning(generator, prompt, MOST_ROWS))
        outputs = [
            output
            for start in range(0, len(planned.rows), BATCH_ROWS)
            for output in generator.generate(planned.rows[start : start + BATCH_ROWS], planned.options)
        ]
        return planned.assemble(outputs)

    return generate


def _speaker() -> Say:
    """Returns what writes messages to standard output; whatever libraries print goes to standard error from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return say


def _end_with_input() -> None:
    # Not through `sys.stdin`, whose lock an interpreter that ends would wait for.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
