"""The further passes of a streamed request: those of a row start as soon as its first pass has ended.

So a sentence whose spans have to be repaired delays the sentences after it by its own passes only. Equal sentences
share their further passes, unless they are sampled.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import replace

from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.app.serving.documents.plan import Plan
from slimseq.app.serving.documents.planner import Planner, Work, finished
from slimseq.app.serving.documents.protection import RowPasses
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.tokenizer import Encoding

OnEnd = Callable[[int, asyncio.Task[TextOutput]], None]


class StreamedPasses:
    """The passes of the rows of one request. Used from the event loop."""

    def __init__(
        self, worker: RequestQueue, generator: TextGenerator, planned: Plan, due: Due, planner: Planner
    ) -> None:
        """Starts nothing.

        Args:
            worker: generates.
            generator: of the model.
            planned: the plan of the request.
            due: when the request expires.
            planner: runs what takes long.
        """
        self._worker = worker
        self._generator = generator
        self._planned = planned
        self._due = due
        self._planner = planner
        self._outputs: dict[int, TextOutput] = {}
        # The rows whose passes have not ended, and the tasks of all sentences that needed further ones.
        self._running: set[int] = set()
        self._tasks: dict[Hashable, asyncio.Task[TextOutput]] = {}
        self._segments = [segment for text in planned.texts for segment in text.segments]
        self._ended: float | None = None

    @property
    def running(self) -> int:
        """The number of rows whose passes have not ended."""
        return len(self._running)

    def first(self, row: int, output: TextOutput, on_end: OnEnd) -> TextOutput | None:
        """Takes the output of the first pass of a row. Returns the final output, or None if it takes longer.

        Args:
            row: the row.
            output: its output.
            on_end: called on the event loop when the further passes end. The caller then calls `ended`.
        """
        segment = self._segments[row]
        sentence = row if self._planned.options.do_sample else (segment.text, segment.spans)
        if (task := self._tasks.get(sentence)) is None:
            passes = RowPasses(self._generator, self._planned)
            work = passes.begin([(row, output)])
            rows = None if self._is_long(row) else finished(work)
            if rows is not None and not rows:
                self._outputs[row] = passes.outputs[row]
                return passes.outputs[row]
            task = self._tasks[sentence] = asyncio.create_task(self._run(row, passes, rows, work))
        self._running.add(row)
        task.add_done_callback(lambda ended: on_end(row, ended))
        return None

    def ended(self, row: int, task: asyncio.Task[TextOutput]) -> TextOutput:
        """Returns the final output of a row whose further passes have ended.

        Raises:
            SlimseqError: they failed.
        """
        self._running.discard(row)
        self._ended = time.monotonic()
        self._outputs[row] = task.result()
        return self._outputs[row]

    def completed(self, generated: Generated) -> Generated:
        """Returns the final outputs in place of those of the first passes."""
        outputs = [self._outputs.get(row, output) for row, output in enumerate(generated.outputs)]
        inference_seconds = max(generated.inference_seconds, (self._ended or 0.0) - generated.begun)
        return replace(generated, outputs=outputs, inference_seconds=inference_seconds)

    def close(self) -> None:
        """Ends what still runs. Nobody reads its errors."""
        for task in self._tasks.values():
            task.cancel()
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def _run(
        self, row: int, passes: RowPasses, rows: list[Encoding] | None, work: Work[list[Encoding]]
    ) -> TextOutput:
        if rows is None:
            rows = await self._planner.run(work)
        while rows:
            request = self._worker.submit(rows, self._planned.options, self._due, has_equal_rows=True, is_admitted=True)
            work = passes.go_on((await self._worker.wait(request)).outputs)
            rows = await self._planner.run(work, not self._is_long(row))
        return passes.outputs[row]

    def _is_long(self, row: int) -> bool:
        """Whether the sentence of a row may have any length, so that to mask it again may take long."""
        return row in self._planned.passes and self._planned.rows[row].is_truncated
