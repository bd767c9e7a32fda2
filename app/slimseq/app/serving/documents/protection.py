"""The further passes of a request's sentences whose protected spans did not come out right in the first one.

The rows of a pass are generated as those of the first one were: by the same queue, with the same options.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from slimseq.app.serving.batching.request import Generated, QueuedRequest, cut
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.app.serving.documents.plan import Plan
from slimseq.app.serving.documents.planner import Planner, Size
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.segmenter import Check, unchecked
from slimseq.inference.tokenizer import Encoding

# To check the outputs of so many sentences takes a few milliseconds.
SHORT_ROWS = 32


@dataclass
class RowPasses:
    """The passes of rows of a plan, side by side.

    A caller generates the rows that `begin` and `go_on` return, until there are no more.

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

    def begin(self, outputs: Iterable[tuple[int, TextOutput]], check: Check = unchecked) -> list[Encoding]:
        """Takes the first outputs of rows, by row. Returns the rows of the next pass, none if all is right."""
        first: list[tuple[int, Sequence[TextOutput]]] = []
        for row, output in outputs:
            if row in self.plan.passes:
                first.append((row, [output]))
            else:
                self.outputs[row] = cut(output, self.plan.stop)
        rows = self._advance(first, check)
        self.repaired += len(self._waiting)
        return rows

    def go_on(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[Encoding]:
        """Takes the outputs of the last pass. Returns the rows of the next one, none if all is right."""
        left = iter(outputs)
        return self._advance([(row, list(islice(left, count))) for row, count in self._waiting], check)

    async def run(
        self, worker: RequestQueue, outputs: Iterable[tuple[int, TextOutput]], due: Due, planner: Planner
    ) -> tuple[float, float]:
        """Generates all further passes, given the first outputs of rows. Returns the seconds in queue and inference.

        Raises:
            SlimseqError: what `Planner.run`, `RequestQueue.submit` and `RequestQueue.wait` raise.
        """
        queue_seconds = inference_seconds = 0.0
        first = list(outputs)
        protected = [row for row, _ in first if row in self.plan.passes]
        # A sentence above the context window may have any length.
        is_long = len(protected) > SHORT_ROWS or any(self.plan.rows[row].is_truncated for row in protected)
        size = Size.USUAL if is_long else Size.SHORT
        rows = await planner.run(partial(self.begin, first), size)
        while rows:
            request = QueuedRequest(rows, self.plan.options, due, has_equal_rows=True)
            further = await worker.wait(worker.submit(request, is_admitted=True))
            queue_seconds += further.queue_seconds
            inference_seconds += further.inference_seconds
            rows = await planner.run(partial(self.go_on, further.outputs), size)
        return queue_seconds, inference_seconds

    def _advance(self, received: Sequence[tuple[int, Sequence[TextOutput]]], check: Check) -> list[Encoding]:
        self._waiting = []
        texts: list[str] = []
        for row, outputs in received:
            check()
            try:
                further = self.plan.passes[row].send(outputs)
            except StopIteration as end:
                self.outputs[row] = cut(end.value, self.plan.stop)
            else:
                self._waiting.append((row, len(further)))
                texts += further
        self.further_rows += len(texts)
        return self.generator.encode_many(texts) if texts else []


async def with_further_passes(
    worker: RequestQueue, generator: TextGenerator, planned: Plan, generated: Generated, due: Due, planner: Planner
) -> Generated:
    """Returns the final outputs of all rows of a request, and the time of all passes.

    Raises:
        SlimseqError: what `RowPasses.run` raises.
    """
    if not planned.passes:
        return generated
    passes = RowPasses(generator, planned)
    queue_seconds, inference_seconds = await passes.run(worker, enumerate(generated.outputs), due, planner)
    return Generated(
        [passes.outputs[row] for row in range(len(planned.rows))],
        generated.queue_seconds + queue_seconds,
        generated.inference_seconds + inference_seconds,
        generated.begun,
    )


def all_passes(
    generator: TextGenerator, planned: Plan, generate: Callable[[Sequence[Encoding]], list[TextOutput]]
) -> RowPasses:
    """Runs all passes of a plan on the calling thread, without a queue. Returns them with the final outputs."""
    passes = RowPasses(generator, planned)
    rows = passes.begin(enumerate(generate(planned.rows)))
    while rows:
        rows = passes.go_on(generate(rows))
    return passes
