"""The program of one evaluation: a process that may be killed at any time.

`slimseq.app.evaluations.runner` starts the process, which generates the outputs and computes the results. It opens no
database: what it needs arrives as JSON lines on standard input, in this order:

1. the `store`, and the `Claim` as `evaluation`;
2. a `sample` or an `output` a line, as far as the database has some;
3. `null`. Standard input then stays open while the service runs.

It answers with JSON lines on standard output:

1. only if the samples of a named data set are not stored: `samples`, several times, and then `sample_count`;
2. `outputs` of a variant and the `progress`, several times;
3. the `result`; or the class name of an `error` with its `detail`; or the traceback of a `crash`.
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

# Threads of a generator. An evaluation has no hurry, and live requests need the cores.
THREADS = 1
# In effect no limit: the maximum number of words in a text bounds its sentences.
MAX_ROWS = 1_000_000
# Samples in one message, so that the service does not parse long lines.
MESSAGE_SAMPLES = 50
# The fields of a `TextOutput` that the database stores. They suffice to make it again.
STORED_FIELDS = ("text", "finish_reason", "input_tokens", "output_tokens", "truncated")


def main() -> None:
    bound_heaps()
    write = message_writer()
    samples: list[Example] = []
    outputs: list[Message] = []
    # Not `sys.stdin`: see `_end_with_input`.
    with os.fdopen(0, "rb", closefd=False) as lines:
        order = json.loads(lines.readline())
        for line in lines:
            stored = json.loads(line)
            if stored is None:
                break
            if "sample" in stored:
                samples.append(Example(*stored["sample"]))
            else:
                outputs.append(stored["output"])
    threading.Thread(target=_end_with_input, daemon=True, name="end with input").start()
    try:
        claimed = Claim(**order["evaluation"])
        store = open_store(order["store"])
        generators = {
            variant: open_generator(store, Task(claimed.task), variant, runtime, threads=THREADS)
            for variant, runtime in (claimed.runtimes or {}).items()
        }
        with panics_as_exceptions():
            result = _run(claimed, generators, samples, outputs, write)
            write({"result": result})
    except SlimseqError as error:
        write({"error": type(error).__name__, "detail": str(error)})
    except Exception:
        write({"crash": traceback.format_exc()})


@dataclass(frozen=True)
class ComparedOutput(TextOutput):
    """An output, and the parts of it that are compared with parts of the source for warnings."""

    parts: tuple[Compared, ...] = ()


class OutputWriter:
    """Sends the outputs of variants to the service as they come, each with its score, warnings and confidence.

    `tallies` has the outputs that were stored before, so that `evaluate` generates only the others.
    """

    def __init__(
        self, claimed: Claim, samples: Sequence[Example], manifests: Mapping[str, Manifest], write: Write
    ) -> None:
        self._task = Task(claimed.task)
        self._samples = samples
        self._manifests = manifests
        self._write = write
        self._done_count = 0
        self._all_count = len(samples) * len(claimed.variants)
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def restore(self, outputs: Sequence[dict[str, Any]]) -> None:
        """Takes the outputs that the database has."""
        for output in outputs:
            tally = self.tallies[output["variant"]]
            tally.outputs[output["sample"]] = TextOutput(**{name: output[name] for name in STORED_FIELDS})
            tally.seconds += output["seconds"]
        self._done_count = len(outputs)

    def write_outputs(self, variant: str, outputs: Mapping[int, TextOutput], seconds: float) -> None:
        """Sends the outputs of a batch, by the number of the sample. `seconds` is the time of the batch."""
        rows = []
        for number, output in outputs.items():
            similarity = agreement(self._task, output.text, self._samples[number].target).similarity
            row = {
                **{name: getattr(output, name) for name in STORED_FIELDS},
                "variant": variant,
                "sample": number,
                "score": 100 * similarity,
                "seconds": seconds / len(outputs),
                **self._warnings_and_confidence(variant, number, output),
            }
            rows.append(row)
        self._done_count += len(outputs)
        self._write({"outputs": rows, "progress": round(self._done_count / self._all_count, 4)})

    def _warnings_and_confidence(self, variant: str, number: int, output: TextOutput) -> dict[str, Any]:
        assert isinstance(output, ComparedOutput)
        manifest = self._manifests[variant]
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
        for start in range(0, len(samples), MESSAGE_SAMPLES):
            piece = samples[start : start + MESSAGE_SAMPLES]
            write({"samples": [(each.source, each.target) for each in piece]})
        write({"sample_count": len(samples)})
    writer = OutputWriter(claimed, samples, {name: each.manifest for name, each in generators.items()}, write)
    writer.restore(outputs)
    found = evaluate(
        task,
        DatasetSample(claimed.dataset, "test", tuple(samples)),
        {name: _generate_with(generator, claimed.languages) for name, generator in generators.items()},
        claimed.references,
        tallies=writer.tallies,
        on_outputs=writer.write_outputs,
    )
    return {
        "baseline": found.baseline.model_dump(mode="json"),
        "results": [each.model_dump(mode="json") for each in found.variants],
    }


def _generate_with(generator: TextGenerator, languages: Sequence[str] | None) -> Generate:
    """Returns a function that generates as the service does, with the variant's default options.

    A model of many languages translates between the languages of the data. Numbers, names and markup are not protected
    (`protect=False`): an evaluation measures the model, and not what the service repairs.
    """
    source: str | None = None
    target: str | None = None
    if languages is not None and len(languages) == 2:
        pair = languages[0], languages[1]
        # If the model has no such pair, it has a single pair that differs by a region only. It then needs no languages.
        if complete_pair(generator.manifest, pair) is not None:
            source, target = pair

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
    """Ends this process when standard input is closed: the service has died, and nobody reads the outputs."""
    # Not through `sys.stdin`: this thread would hold its lock, for which the end of the interpreter waits.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
