"""The program of shadowing: answers requests again with their references, and compares the outputs.

It reads a `Shadow` from each line of standard input and writes a line for each to standard output: the `agreements`, or
only the class name of an `error`, whose text could quote the request. It ends with its input.
"""

import json
import os
import traceback
from collections import OrderedDict

from slimseq.app.low_priority import BATCH_ROWS, message_writer, open_store
from slimseq.app.serving.heap import bound_heaps
from slimseq.app.shadowing.shadow import Shadow
from slimseq.evaluation.agreement import agreements
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import Prompt, plan, run_all
from slimseq.models_store.errors import InvalidArtifact, SlimseqError

# No limit: `slimseq.app.shadowing.shadowing` bounds the characters of a request.
MAX_ROWS = 1_000_000
# One for each task.
MAX_OPEN = 2


def main() -> None:
    bound_heaps()
    write = message_writer()
    references = References()
    with os.fdopen(0, "rb", closefd=False) as given:
        for line in given:
            reference = None
            try:
                shadow = Shadow.from_message(json.loads(line))
                reference = references.open(shadow)
                found = agreements(shadow.task, shadow.outputs, generate_again(reference, shadow.prompt))
                write({"agreements": [(each.is_exact, each.similarity) for each in found]})
            except SlimseqError as error:
                write({"error": type(error).__name__, "is_lasting": reference is None})
            except Exception as error:
                # The last line of a traceback could quote the request.
                frames = "".join(traceback.format_tb(error.__traceback__))
                write({"error": type(error).__name__, "is_lasting": reference is None, "trace": frames})


class References:
    """The open references, at most `MAX_OPEN`. The least recently used is closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str, str, str], TextGenerator] = OrderedDict()

    def open(self, shadow: Shadow) -> TextGenerator:
        """Returns the reference of a request.

        Raises:
            InvalidArtifact: the store has another model of that name by now.
            SlimseqError: what `open_generator` raises.
        """
        key = (shadow.task, shadow.reference, shadow.reference_digest, shadow.runtime)
        if key not in self._open:
            while len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            store = open_store(shadow.store)
            generator = open_generator(store, shadow.task, shadow.reference, shadow.runtime, threads=1)
            if generator.manifest.digest != shadow.reference_digest:
                generator.close()
                raise InvalidArtifact(f"{shadow.task}/{shadow.reference} was replaced")
            self._open[key] = generator
        self._open.move_to_end(key)
        return self._open[key]


def generate_again(generator: TextGenerator, prompt: Prompt) -> list[str]:
    """Returns what the service would answer with the variant, one text for each text of the prompt."""
    planned = plan(generator, prompt, MAX_ROWS)
    return [output.text for output in planned.assemble(run_all(generator, planned, BATCH_ROWS).in_order)]


if __name__ == "__main__":
    main()
