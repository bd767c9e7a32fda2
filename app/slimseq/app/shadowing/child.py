"""The program of shadowing: answers requests again with their references, and compares the outputs.

It reads a `Shadow` from each line of standard input and writes a line for each to standard output: the `agreements`, or
only the class name of an `error`, whose text could quote the request. It ends with its input.
"""

import os
import traceback
from collections import OrderedDict
from pathlib import Path

from slimseq.app.low_priority import message_writer
from slimseq.app.shadowing.process import Shadow
from slimseq.evaluation.agreement import agreements
from slimseq.evaluation.host import bound_heaps
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import Prompt, plan, run_all
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.signing import TrustedKeys
from slimseq.models_store.store import Store

# Sentences that are generated at once.
BATCH_ROWS = 16
# No limit: `slimseq.app.shadowing.shadowing` bounds the characters of a request.
MAX_ROWS = 1_000_000
# One for each task.
MAX_OPEN = 2


def main() -> None:
    """Answers until its input ends."""
    bound_heaps()
    write = message_writer()
    references = References()
    with os.fdopen(0, "rb", closefd=False) as given:
        for line in given:
            reference = None
            try:
                shadow = Shadow.of_line(line)
                reference = references.open(shadow)
                found = agreements(shadow.task, shadow.outputs, outputs_of(reference, shadow.prompt))
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
            trusted = None if shadow.trusted_keys is None else TrustedKeys(tuple(shadow.trusted_keys))
            store = Store(Path(shadow.store), trusted)
            generator = open_generator(store, shadow.task, shadow.reference, shadow.runtime, threads=1)
            if generator.manifest.digest != shadow.reference_digest:
                generator.close()
                raise InvalidArtifact(f"{shadow.task}/{shadow.reference} was replaced")
            self._open[key] = generator
        self._open.move_to_end(key)
        return self._open[key]


def outputs_of(generator: TextGenerator, prompt: Prompt) -> list[str]:
    """Returns what the service would answer with the variant, one text for each text of the prompt.

    Raises:
        SlimseqError: what `plan` raises.
    """
    planned = plan(generator, prompt, MAX_ROWS)
    return [output.text for output in planned.assemble(run_all(generator, planned, BATCH_ROWS).in_order)]


if __name__ == "__main__":
    main()
