"""Texts in, rows of outputs out: the core of `slimseq generate`.

A `RowProcessor` has one open artifact. It generates from a window of texts at a time; the worker processes of one
machine and the actors of a cluster call it alike. Each text is a prompt of its own, so that its output depends on no
other text. Only the rows of the engine are shared: those of all texts of a window run in batches of similar length.

A text that cannot be done becomes a row with an error. It never ends the window.
"""

import re
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.evaluation.bulk.row_settings import RowIds, RowSettings
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.errors import TextTooLong
from slimseq.inference.text.plan import choose_options, plan
from slimseq.inference.text.repair import plan_repair
from slimseq.inference.text.rows import Plan, RowPasses
from slimseq.inference.text.warnings import TextWarning
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions

# Rows of the engine that run together, and their hypotheses: all beams of them. More take longer a step, and hardly
# more is done (docs/decisions/007-the-engine.md).
BATCH_ROWS = 32
BATCH_HYPOTHESES = 128
# Input tokens of a batch with padding, which bound the memory of its caches.
BATCH_TOKENS = 8192
# Maximum number of characters of a text: that of a request to the service. The time and memory of the handling of texts
# are bounded for it.
MAX_TEXT_CHARACTERS = 1_000_000
SURROGATE = re.compile("[\ud800-\udfff]")

# What a text needs next: options, and rows to generate with them. The result is its output with the warnings about it.
Steps = Generator[tuple[GenerationOptions, Sequence[Encoding]], list[TextOutput], tuple[TextOutput, list[TextWarning]]]


@dataclass(frozen=True)
class GeneratedRow:
    """The output of one text, with the fields that an answer of the service has; or the reason why there is none.

    `alternatives` have a text and a score each, `warnings` a kind and a detail.
    """

    row_id: str
    output: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    truncated: bool | None = None
    confidence: float | None = None
    score: float | None = None
    warnings: tuple[dict[str, str], ...] = ()
    repaired: tuple[str, ...] = ()
    alternatives: tuple[dict[str, Any], ...] = ()
    error: str | None = None

    def fields(self) -> dict[str, Any]:
        """Returns the fields by name, without those that are absent from an answer: None and empty lists."""
        return {name: value for name, value in vars(self).items() if value is not None and value != ()}


class RowProcessor:
    """Generates from texts with an open artifact, for one thread at a time.

    Raises:
        InvalidOptions, InvalidPrompt, UnsupportedLanguages: the settings are not possible with this artifact.
    """

    def __init__(self, generator: TextGenerator, settings: RowSettings) -> None:
        # Raises for what is wrong with the settings, whatever the texts are.
        self._chosen, self._options = choose_options(generator, settings.prompt(""))
        self._generator = generator
        self._settings = settings
        self._ids = RowIds(generator.manifest, settings)

    def process(self, texts: Sequence[Any]) -> list[GeneratedRow]:
        """Returns a row for each text, in order.

        If an unexpected error ends a batch, the texts run again in halves, so that only the failing text has an error.
        """
        try:
            return self._process(texts)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a library in Rust panics with an error that is no `Exception`
            if len(texts) == 1:
                return [self._failed(texts[0], f"the text cannot be generated from: {type(error).__name__}: {error}")]
        half = len(texts) // 2
        return self.process(texts[:half]) + self.process(texts[half:])

    def _process(self, texts: Sequence[Any]) -> list[GeneratedRow]:
        found: dict[int, GeneratedRow] = {}
        running: dict[int, Steps] = {}
        requests: dict[int, tuple[GenerationOptions, Sequence[Encoding]]] = {}

        def advance(index: int, outputs: list[TextOutput] | None) -> None:
            """Lets a text go on with the outputs that it waited for, until it needs further ones or has ended."""
            try:
                requests[index] = running[index].send(outputs)  # type: ignore[arg-type]
            except StopIteration as ended:
                found[index] = self._row(texts[index], *ended.value)
            except SlimseqError as error:
                found[index] = self._failed(texts[index], str(error).removeprefix("text: "))

        for index, text in enumerate(texts):
            problem = problem_of(text)
            if problem is not None:
                found[index] = self._failed(text, problem)
            elif not text.strip():
                found[index] = self._row(text, TextOutput("", "eos", 0, 0, truncated=False), [])
            else:
                running[index] = self._as_is(text) if self._settings.as_is else self._prompted(text)
                advance(index, None)
        while requests:
            answers = self._generate(requests)
            requests.clear()
            for index, outputs in answers.items():
                advance(index, outputs)
        return [found[index] for index in range(len(texts))]

    def _prompted(self, text: str) -> Steps:
        """Generates from a text as the service does: with passes for protected spans, warnings and a repair."""
        planned = plan(self._generator, self._settings.prompt(text), max_rows=sys.maxsize)
        first = yield planned.options, planned.rows
        rows = yield from self._passes(planned, first)
        outputs, warnings = planned.checked(rows)
        if planned.needs_repair(warnings):
            again = plan_repair(self._generator, planned, rows, warnings)
            rows = yield from self._passes(again, rows)
            outputs, warnings = planned.checked(rows)
        return outputs[0], warnings[0]

    def _passes(
        self, planned: Plan, first: Sequence[TextOutput]
    ) -> Generator[tuple[GenerationOptions, Sequence[Encoding]], list[TextOutput], list[TextOutput]]:
        """Runs the passes of a plan, given the first outputs of its rows. Returns their last outputs."""
        passes = RowPasses(self._generator, planned)
        rows = passes.begin(enumerate(first))
        while rows:
            outputs = yield planned.options, rows
            rows = passes.go_on(outputs)
        return passes.in_order

    def _as_is(self, text: str) -> Steps:
        encoding = self._chosen.encode(text.strip(), self._settings.prefix)
        if encoding.is_truncated and self._settings.on_overflow == "error":
            most = self._chosen.max_input_tokens
            raise TextTooLong(f"the text has {encoding.full_length} tokens and the model reads at most {most}")
        [output] = yield self._options, [encoding]
        return output, []

    def _generate(
        self, requests: dict[int, tuple[GenerationOptions, Sequence[Encoding]]]
    ) -> dict[int, list[TextOutput]]:
        """Generates the rows of several texts together. Returns their outputs in order, by text."""
        by_options: dict[GenerationOptions, list[tuple[int, int, Encoding]]] = {}
        for index, (options, rows) in requests.items():
            group = by_options.setdefault(options, [])
            group += [(index, place, row) for place, row in enumerate(rows)]
        found: dict[tuple[int, int], TextOutput] = {}
        for options, group in by_options.items():
            # The longest rows come first, so that a lack of memory shows at the start.
            group.sort(key=lambda each: -len(each[2].ids))
            for batch in _batches(group, options.num_beams):
                outputs = self._generator.generate([row for _, _, row in batch], options)
                for (index, place, _), output in zip(batch, outputs, strict=True):
                    found[index, place] = output
        return {index: [found[index, place] for place in range(len(rows))] for index, (_, rows) in requests.items()}

    def _row(self, text: str, output: TextOutput, warnings: Sequence[TextWarning]) -> GeneratedRow:
        others = tuple({"text": each.text, "score": each.score} for each in output.alternatives)
        return GeneratedRow(
            self._ids.of(text),
            output=output.text,
            finish_reason=output.finish_reason,
            input_tokens=output.input_tokens,
            output_tokens=output.output_tokens,
            truncated=output.truncated,
            confidence=output.confidence(self._generator.manifest),
            score=output.score if others else None,
            warnings=tuple({"kind": each.kind, "detail": each.detail} for each in warnings),
            repaired=output.repaired,
            alternatives=others,
        )

    def _failed(self, text: Any, reason: str) -> GeneratedRow:
        return GeneratedRow(self._ids.of(text), error=" ".join(reason.split()))


def problem_of(text: Any) -> str | None:
    """Returns why a value is no text to generate from, None if it is one."""
    if not isinstance(text, str):
        return "the text is missing" if text is None else f"the text is not a string but {type(text).__name__}"
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"the text has {len(text):,} characters, and at most {MAX_TEXT_CHARACTERS:,} are possible; split it"
    # JSON can escape halves of surrogate pairs, which no tokenizer reads and no file can hold.
    if SURROGATE.search(text):
        return "the text has half of a surrogate pair"
    return None


def _batches(
    rows: Sequence[tuple[int, int, Encoding]], num_beams: int
) -> Iterator[Sequence[tuple[int, int, Encoding]]]:
    """Splits rows, the longest first, into batches."""
    start = 0
    while start < len(rows):
        longest = max(len(rows[start][2].ids), 1)
        size = max(1, min(BATCH_ROWS, BATCH_HYPOTHESES // num_beams, BATCH_TOKENS // longest))
        yield rows[start : start + size]
        start += size
