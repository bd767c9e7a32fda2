"""The program of one evaluation: a process that may be killed at any time.

`slimseq.app.evaluations.runner` starts it. It reads JSON lines from standard input, which stays open while the service
runs: the store and the `Claim`, a line for each `sample` and `output` that is known already, and then `null`.
It writes JSON lines to standard output:

- `samples`: some samples of a named data set, several times, and `sample_count` after the last;
- `outputs` of a variant, or `progress` alone, several times;
- the `result`; or the class name of an `error` with its `detail`; or the traceback of a `crash`.
"""

import json
import os
import random
import threading
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.app.evaluations.schemas import Claim
from slimseq.app.generate.schemas import Output
from slimseq.app.low_priority import Message, Write, generate_in_batches, message_writer, open_store
from slimseq.app.serving.heap import bound_heaps
from slimseq.evaluation.benchmark import compare
from slimseq.evaluation.dataset_files import DatasetSample, Example
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.run import Generate, Tally, Watcher, evaluate
from slimseq.evaluation.sequential.sequential_gate import SequentialGate, sample_score
from slimseq.evaluation.slices import counts_tokens
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.plan import Prompt, plan
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
# Any will do, but the order must be the same each time.
SEED = 12345


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
        if claimed.kind == "latency":
            write({"result": _run_latency(claimed, generators, write)})
        else:
            write({"result": _run_quality(claimed, generators, samples, outputs, write)})
    except SlimseqError as error:
        write({"error": type(error).__name__, "detail": str(error)})
    except Exception:
        write({"crash": traceback.format_exc()})


@dataclass(frozen=True)
class ComparedOutput(TextOutput):
    """An output, and the parts of it that are compared with parts of the source for warnings."""

    parts: tuple[Compared, ...] = ()


class OutputWriter(Watcher):
    """Writes the outputs with their scores as they come. The answers to a gate question may end the run.

    Samples are evaluated in the order of `numbers`: a random one for a gate question.
    """

    def __init__(
        self, claimed: Claim, samples: Sequence[Example], manifests: Mapping[str, Manifest], write: Write
    ) -> None:
        self._task = Task(claimed.task)
        self._manifests = manifests
        self._write = write
        self._done, self._texts = 0, len(samples) * len(claimed.variants)
        self.numbers = list(range(len(samples)))
        self.gate: SequentialGate | None = None
        if asked := claimed.options.get("gate"):
            random.Random(SEED).shuffle(self.numbers)
            self.gate = SequentialGate(self._task, asked["retention"], claimed.references)
        self.samples = tuple(samples[number] for number in self.numbers)
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def restore(self, outputs: Sequence[dict[str, Any]]) -> None:
        places = {number: place for place, number in enumerate(self.numbers)}
        for output in outputs:
            variant, place = output["variant"], places[output["sample"]]
            self.tallies[variant].outputs[place] = TextOutput(**{name: output[name] for name in STORED})
            self.tallies[variant].seconds += output["seconds"]
            self._count(variant, place, output["score"])

    def see(self, system: str, outputs: Mapping[int, TextOutput], seconds: float) -> None:
        rows = []
        for place, output in outputs.items():
            score = sample_score(self._task, output.text, self.samples[place].target)
            share = {"sample": self.numbers[place], "score": score, "seconds": seconds / len(outputs)}
            own = {name: getattr(output, name) for name in STORED}
            rows.append({**own, **share, **self._judged(system, place, output), "variant": system})
            self._count(system, place, score)
        self._write({"outputs": rows, "progress": round(self._done / self._texts, 4)})

    def _judged(self, system: str, place: int, output: TextOutput) -> dict[str, Any]:
        assert isinstance(output, ComparedOutput)
        manifest = self._manifests[system]
        found = output_warnings(self._task, manifest.languages, self.samples[place].source, output.parts)
        return Output.of(output, found, manifest).model_dump(include={"warnings", "confidence"})

    def is_enough(self) -> bool:
        return self.gate is not None and self.gate.is_decided

    def _count(self, system: str, place: int, score: float) -> None:
        self._done += 1
        if self.gate is not None:
            self.gate.add(system, place, score)


def _run_quality(
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
            piece = samples[start : start + PIECE_SAMPLES]
            write({"samples": [(each.source, each.target) for each in piece]})
        write({"sample_count": len(samples)})
    writer = OutputWriter(claimed, samples, {name: each.manifest for name, each in generators.items()}, write)
    writer.restore(outputs)
    found = evaluate(
        task,
        DatasetSample(claimed.dataset, "test", writer.samples),
        {name: _system(generator) for name, generator in generators.items()},
        claimed.references,
        tallies=writer.tallies,
        watcher=writer,
        longest_first=writer.gate is None,
        count_tokens={name: counts_tokens(generators[name]) for name in set(claimed.references.values())},
    )
    return {
        **found.model_dump(mode="json", include={"baseline", "differences"}),
        "results": [each.model_dump(mode="json") for each in found.variants],
        "evaluated": found.samples,
        "stopped_early": found.samples < len(samples),
        "gate": [each.model_dump(mode="json") for each in writer.gate.answers()] if writer.gate else None,
    }


def _run_latency(claimed: Claim, generators: Mapping[str, TextGenerator], write: Write) -> Message:
    asked = claimed.options["latency"]
    examples = load_examples(Task(claimed.task), claimed.dataset, samples=claimed.samples).examples
    length = asked["new_tokens"]
    measured = compare(
        generators,
        [each.source for each in examples],
        {
            name: each.manifest.generation.options(min_new_tokens=length, max_new_tokens=length)
            for name, each in generators.items()
        },
        asked["batch"],
        asked["repeats"],
        threads=THREADS,
        progress=lambda done, whole: write({"progress": round(done / whole, 4)}),
    )
    return {"latencies": [{"variant": name, **each.model_dump(mode="json")} for name, each in measured.items()]}


def _system(generator: TextGenerator) -> Generate:
    """Returns a function that generates as the service does, with the variant's default options.

    Nothing is protected: an evaluation measures the model.
    """

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        prompt = Prompt(texts=[example.source for example in examples], protect=False)
        planned = plan(generator, prompt, MAX_ROWS)
        rows = generate_in_batches(generator, planned.rows, planned.options)
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
