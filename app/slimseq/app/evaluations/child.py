"""The program of one evaluation: a process that may be killed at any time.

`slimseq.app.evaluations.runner` starts it. It reads JSON lines from standard input, which stays open while the service
runs: the store and the `Claim`, a line for each `sample` and `output` that is known already, and then `null`.
It writes JSON lines to standard output:

- `samples`: some samples of a named data set, several times, and `sample_count` after the last;
- `outputs` of a variant and the `progress`, several times;
- the `result`; or the class name of an `error` with its `detail`; or the traceback of a `crash`.
"""

import json
import os
import threading
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.app.evaluations.schemas import Claim
from slimseq.app.failures import panics_as_exceptions
from slimseq.app.generate.schemas import make_output
from slimseq.app.low_priority import BATCH_ROWS, Message, Write, message_writer, open_store
from slimseq.app.serving.heap import bound_heaps
from slimseq.app.serving.selection.language_pairs import complete_pair
from slimseq.evaluation.agreement import agreement
from slimseq.evaluation.dataset_files import DatasetSample, Example
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.run import Generate, Tally, evaluate
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt, run_all
from slimseq.inference.text.warnings import Compared, output_warnings
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Task

THREADS = 1
# No limit: the number of words in a text bounds its sentences.
MAX_ROWS = 1_000_000
# Samples of one message, so that the service does not parse long lines.
PIECE_SAMPLES = 50
# What is stored of an output. It can be made again from them.
STORED = ("text", "finish_reason", "input_tokens", "output_tokens", "truncated")


def main() -> None:
    bound_heaps()
    write = message_writer()
    samples: list[Example] = []
    outputs: list[Message] = []
    with os.fdopen(0, "rb", closefd=False) as given:
        order = json.loads(given.readline())
        while known := json.loads(given.readline() or "null"):
            if "sample" in known:
                samples.append(Example(*known["sample"]))
            else:
                outputs.append(known["output"])
    threading.Thread(target=_end_with_input, daemon=True, name="end with input").start()
    try:
        claimed, store = Claim(**order["evaluation"]), open_store(order["store"])
        generators = {
            variant: open_generator(store, Task(claimed.task), variant, runtime, threads=THREADS)
            for variant, runtime in (claimed.runtimes or {}).items()
        }
        with panics_as_exceptions():
            write({"result": _run(claimed, generators, samples, outputs, write)})
    except SlimseqError as error:
        write({"error": type(error).__name__, "detail": str(error)})
    except Exception:
        write({"crash": traceback.format_exc()})


@dataclass(frozen=True)
class ComparedOutput(TextOutput):
    """An output, and the parts of it that are compared with parts of the source for warnings."""

    parts: tuple[Compared, ...] = ()


class OutputWriter:
    def __init__(
        self, claimed: Claim, samples: Sequence[Example], manifests: Mapping[str, Manifest], write: Write
    ) -> None:
        self._task = Task(claimed.task)
        self._samples = samples
        self._manifests = manifests
        self._write = write
        self._done, self._texts = 0, len(samples) * len(claimed.variants)
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def restore(self, outputs: Sequence[dict[str, Any]]) -> None:
        for output in outputs:
            tally = self.tallies[output["variant"]]
            tally.outputs[output["sample"]] = TextOutput(**{name: output[name] for name in STORED})
            tally.seconds += output["seconds"]
        self._done = len(outputs)

    def see(self, system: str, outputs: Mapping[int, TextOutput], seconds: float) -> None:
        rows = []
        for number, output in outputs.items():
            score = 100 * agreement(self._task, output.text, self._samples[number].target).similarity
            share = {"variant": system, "sample": number, "score": score, "seconds": seconds / len(outputs)}
            own = {name: getattr(output, name) for name in STORED}
            rows.append({**own, **share, **self._judged(system, number, output)})
        self._done += len(outputs)
        self._write({"outputs": rows, "progress": round(self._done / self._texts, 4)})

    def _judged(self, system: str, number: int, output: TextOutput) -> dict[str, Any]:
        assert isinstance(output, ComparedOutput)
        manifest = self._manifests[system]
        found = output_warnings(self._task, manifest.languages, self._samples[number].source, output.parts)
        return make_output(output, found, manifest).model_dump(include={"warnings", "confidence"})


def _run(
    claimed: Claim,
    generators: Mapping[str, TextGenerator],
    samples: Sequence[Example],
    outputs: Sequence[Message],
    write: Write,
) -> Message:
    task = Task(claimed.task)
    if not claimed.are_samples_stored:
        samples = load_examples(task, claimed.dataset, samples=claimed.samples).examples
        for start in range(0, len(samples), PIECE_SAMPLES):
            write({"samples": [(each.source, each.target) for each in samples[start : start + PIECE_SAMPLES]]})
        write({"sample_count": len(samples)})
    writer = OutputWriter(claimed, samples, {name: each.manifest for name, each in generators.items()}, write)
    writer.restore(outputs)
    found = evaluate(
        task,
        DatasetSample(claimed.dataset, "test", tuple(samples)),
        {name: _system(generator, claimed.languages) for name, generator in generators.items()},
        claimed.references,
        tallies=writer.tallies,
        on_outputs=writer.see,
    )
    return {
        "baseline": found.baseline.model_dump(mode="json"),
        "results": [each.model_dump(mode="json") for each in found.variants],
    }


def _system(generator: TextGenerator, languages: Sequence[str] | None) -> Generate:
    """Returns a function that generates as the service does, with the variant's default options.

    A model of many languages translates those of the data. Nothing is protected: an evaluation measures the model.
    """
    source = target = None
    if languages is not None and len(languages) == 2:
        named = languages[0], languages[1]
        if complete_pair(generator.manifest, named) is not None:
            source, target = named

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        texts = [example.source for example in examples]
        prompt = Prompt(texts, protect=False, source=source, target=target)
        planned = plan(generator, prompt, MAX_ROWS)
        rows = run_all(generator, planned, BATCH_ROWS).in_order
        outputs = planned.assemble(rows)
        parts = planned.compared(rows, outputs)
        return [ComparedOutput(**vars(output), parts=tuple(own)) for output, own in zip(outputs, parts, strict=True)]

    return generate


def _end_with_input() -> None:
    # Not through `sys.stdin`, whose lock would block the end of the interpreter.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
