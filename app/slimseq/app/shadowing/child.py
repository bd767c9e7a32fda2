"""The program of shadowing: answers requests again with their references, and compares the outputs.

`slimseq.app.shadowing.shadowing` starts it. The program reads a `Shadow` from each line of standard input, and answers
each with a line on standard output: the `agreements`, or the class name of an `error` with the `trace` of its frames.
The text of an error stays away, because it could quote the request. The program ends with its input.
"""

import json
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from slimseq.app.failures import panics_as_exceptions
from slimseq.app.low_priority import BATCH_ROWS, Message, message_writer, open_store
from slimseq.app.serving.heap import bound_heaps
from slimseq.evaluation.agreement import agreements
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import plan
from slimseq.inference.text.repair import generate_all
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task

# In effect no limit: `slimseq.app.shadowing.shadowing` bounds the characters of a request.
MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Shadow:
    """A request that a variant has answered with `outputs`, and its reference on a runtime, which answers it again."""

    store: Message
    task: Task
    variant: str
    digest: str
    reference: str
    reference_digest: str
    runtime: str
    prompt: Prompt
    outputs: Sequence[str]

    @classmethod
    def from_message(cls, fields: Message) -> Self:
        """Makes a shadow of its JSON object. JSON has no enums and no tuples."""
        prompt = fields["prompt"]
        prompt["stop"] = tuple(prompt["stop"])
        return cls(**fields | {"task": Task(fields["task"]), "prompt": Prompt(**prompt)})


def main() -> None:
    bound_heaps()
    write = message_writer()
    # One reference of each task stays open: the one that answered last.
    opened: dict[Task, TextGenerator] = {}
    with os.fdopen(0, "rb", closefd=False) as lines:
        for line in lines:
            try:
                shadow = Shadow.from_message(json.loads(line))
                with panics_as_exceptions():
                    write({"agreements": _agreements(shadow, _reference(opened, shadow))})
            except Exception as error:
                # Without the last line of a traceback, which could quote the request.
                frames = "".join(traceback.format_tb(error.__traceback__))
                write({"error": type(error).__name__, "trace": frames})


def _reference(opened: dict[Task, TextGenerator], shadow: Shadow) -> TextGenerator:
    """Returns the open reference of the task if it is the one of this request, else opens that."""
    generator = opened.get(shadow.task)
    if generator is not None:
        is_same_artifact = generator.manifest.digest == shadow.reference_digest
        if is_same_artifact and generator.runtime.name == shadow.runtime:
            return generator
        opened.pop(shadow.task).close()
    generator = open_generator(open_store(shadow.store), shadow.task, shadow.reference, shadow.runtime, threads=1)
    opened[shadow.task] = generator
    # The artifact on disk was replaced after the service chose this request.
    if generator.manifest.digest != shadow.reference_digest:
        raise InvalidArtifact(f"{shadow.task}/{shadow.reference} was replaced")
    return generator


def _agreements(shadow: Shadow, reference: TextGenerator) -> list[tuple[bool, float]]:
    planned = plan(reference, shadow.prompt, MAX_ROWS)
    outputs, _ = generate_all(reference, planned, BATCH_ROWS)
    texts = [output.text for output in outputs]
    return [(each.is_exact, each.similarity) for each in agreements(shadow.task, shadow.outputs, texts)]


if __name__ == "__main__":
    main()
