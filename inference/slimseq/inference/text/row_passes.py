"""Generates the rows of a plan in passes, until the passes of every row have ended.

A caller generates: `run_all` does it on its own thread, the service through the queue of a variant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.language import choose_languages
from slimseq.inference.text.passes import Input
from slimseq.inference.text.plan import Plan
from slimseq.inference.text.sentences import Check, unchecked
from slimseq.inference.tokenizer import Encoding


@dataclass
class RowPasses:
    """The passes of rows of a plan, side by side.

    A caller generates the rows that `begin` and `go_on` return, until there are no more. `outputs` has the final ones.
    """

    generator: TextGenerator
    plan: Plan
    outputs: dict[int, TextOutput] = field(default_factory=dict)
    # The rows that wait for outputs, and how many.
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = choose_languages(self.generator, self.plan.prompt.source, self.plan.prompt.target)

    @property
    def in_order(self) -> list[TextOutput]:
        return [self.outputs[row] for row in range(len(self.plan.rows))]

    def begin(self, outputs: Iterable[tuple[int, TextOutput]], check: Check = unchecked) -> list[Encoding]:
        """Takes the first outputs of rows, by row. Returns the rows of the next pass, none if all is right."""
        first: list[tuple[int, Sequence[TextOutput]]] = []
        for row, output in outputs:
            if row in self.plan.passes:
                first.append((row, [output]))
            else:
                self.outputs[row] = output.cut(self.plan.prompt.stop)
        return self._advance(first, check)

    def go_on(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[Encoding]:
        """Takes the outputs of the last pass. Returns the rows of the next one, none if all is right."""
        left = iter(outputs)
        received = [(row, list(islice(left, count))) for row, count in self._waiting]
        return self._advance(received, check)

    def _advance(self, received: Sequence[tuple[int, Sequence[TextOutput]]], check: Check) -> list[Encoding]:
        self._waiting = []
        inputs: list[Input] = []
        for row, outputs in received:
            check()
            passes = self.plan.passes[row]
            passes.receive(outputs)
            if passes.inputs:
                self._waiting.append((row, len(passes.inputs)))
                inputs += passes.inputs
            else:
                self.outputs[row] = passes.output.cut(self.plan.prompt.stop)
        return self._encoded(inputs) if inputs else []

    def _encoded(self, inputs: Sequence[Input]) -> list[Encoding]:
        texts = [each for each in inputs if isinstance(each, str)]
        encoded = iter(self.generator.encode_many(texts))
        return [next(encoded) if isinstance(each, str) else each for each in inputs]


def run_all(
    generator: TextGenerator, planned: Plan, batch_rows: int, first: Sequence[TextOutput] | None = None
) -> RowPasses:
    """Generates all passes of a plan, but for a `first` that is given, without a queue; similar lengths together."""

    def generate(rows: Sequence[Encoding]) -> list[TextOutput]:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        found: dict[int, TextOutput] = {}
        for start in range(0, len(order), batch_rows):
            batch = order[start : start + batch_rows]
            found |= zip(batch, generator.generate([rows[row] for row in batch], planned.options), strict=True)
        return [found[row] for row in range(len(rows))]

    passes = RowPasses(generator, planned)
    rows = passes.begin(enumerate(generate(planned.rows) if first is None else first))
    while rows:
        rows = passes.go_on(generate(rows))
    return passes
