"""The further passes of a request's sentences whose protected spans did not come out right in the first one.

The rows of a pass are generated as those of the first one were: by the same queue, with the same options. A caller asks
`RowPasses` for rows, generates them, and gives it the outputs until there are no more rows.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.app.serving.batching.stops import cut
from slimseq.app.serving.documents.plan import Plan
from slimseq.app.serving.documents.planner import Planner, finished
from slimseq.app.serving.documents.tokenizing import encoding
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.protection.passes import Passes
from slimseq.inference.tokenizer import Encoding

# To check the outputs of so many sentences takes a few milliseconds.
SHORT_ROWS = 32


@dataclass
class RowPasses:
    """The passes of rows of a plan, side by side.

    Args:
        generator: encodes.
        plan: has the passes.
        outputs: the final outputs so far, by row.
        further_rows: the number of rows of further passes so far.
        repaired: the number of rows that needed further passes.
    """

    generator: TextGenerator
    plan: Plan
    outputs: dict[int, TextOutput] = field(default_factory=dict)
    further_rows: int = 0
    repaired: int = 0
    # The rows that wait for outputs, and how many.
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def begin(self, outputs: Iterable[tuple[int, TextOutput]]) -> Generator[None, None, list[Encoding]]:
        """Takes the first outputs of rows, by row. Returns the rows of the next pass, none if all is right."""
        texts: list[str] = []
        for row, output in outputs:
            if row in self.plan.passes:
                texts += self._advance(row, [output])
                yield
            else:
                self.outputs[row] = cut(output, self.plan.stop)
        self.repaired += len(self._waiting)
        return (yield from self._encoded(texts))

    def go_on(self, outputs: Sequence[TextOutput]) -> Generator[None, None, list[Encoding]]:
        """Takes the outputs of the last pass. Returns the rows of the next one, none if all is right."""
        waiting, self._waiting = self._waiting, []
        texts: list[str] = []
        start = 0
        for row, count in waiting:
            texts += self._advance(row, outputs[start : start + count])
            start += count
            yield
        return (yield from self._encoded(texts))

    def _advance(self, row: int, outputs: Sequence[TextOutput]) -> list[str]:
        passes: Passes = self.plan.passes[row]
        try:
            texts = passes.send(outputs)
        except StopIteration as end:
            self.outputs[row] = cut(end.value, self.plan.stop)
            return []
        self._waiting.append((row, len(texts)))
        return texts

    def _encoded(self, texts: Sequence[str]) -> Generator[None, None, list[Encoding]]:
        rows = yield from encoding(self.generator, texts, None)
        self.further_rows += len(rows)
        return rows


async def with_further_passes(
    worker: RequestQueue,
    generator: TextGenerator,
    planned: Plan,
    generated: Generated,
    due: Due,
    planner: Planner,
) -> Generated:
    """Runs the further passes of all rows of a request.

    Args:
        worker: generates.
        generator: of the model.
        planned: the plan of the request.
        generated: the outputs of its rows.
        due: when the request expires.
        planner: runs what takes long.

    Returns:
        The final outputs of the rows, and the time of all passes.

    Raises:
        SlimseqError: what `Planner.run`, `RequestQueue.submit` and `RequestQueue.wait` raise.
    """
    if not planned.passes:
        return generated
    passes = RowPasses(generator, planned)
    queue_seconds, inference_seconds = generated.queue_seconds, generated.inference_seconds
    # A sentence above the context window may have any length.
    is_short = len(planned.passes) <= SHORT_ROWS and not any(planned.rows[row].is_truncated for row in planned.passes)
    work = passes.begin(enumerate(generated.outputs))
    while rows := await planner.run(work, is_short):
        further = await worker.wait(worker.submit(rows, planned.options, due, has_equal_rows=True, is_admitted=True))
        queue_seconds += further.queue_seconds
        inference_seconds += further.inference_seconds
        work = passes.go_on(further.outputs)
    outputs = [passes.outputs[row] for row in range(len(planned.rows))]
    return Generated(outputs, queue_seconds, inference_seconds, generated.begun)


def all_passes(
    generator: TextGenerator, planned: Plan, generate: Callable[[Sequence[Encoding]], list[TextOutput]]
) -> RowPasses:
    """Runs all passes of a plan on the calling thread, without a queue.

    Args:
        generator: of the model.
        planned: the plan.
        generate: generates the outputs of rows.

    Returns:
        The passes, with the final outputs.
    """
    passes = RowPasses(generator, planned)
    rows = finished(passes.begin(enumerate(generate(planned.rows))))
    while rows:
        rows = finished(passes.go_on(generate(rows)))
    return passes
