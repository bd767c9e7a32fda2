"""The Python API: `load` opens an artifact, and the `Model` that it returns generates text.

It is for scripts and notebooks: one caller, one artifact. The service (`slimseq.app`) serves many callers and variants,
and handles texts by the same functions (`slimseq.inference.text`).
"""

import queue
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Self, get_args

from slimseq.inference.generator import OnOverflow, TextGenerator, TextOutput, open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.inference.text.assembly import new_assembly
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.plan import plan
from slimseq.inference.text.repair import generate_all
from slimseq.inference.text.rows import Format, Plan, Prompt, RowPasses, run_all
from slimseq.inference.text.warnings import TextWarning
from slimseq.models_store.errors import InvalidOptions, UnsafeArtifactPath
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class ModelOutput(TextOutput):
    """A generated text, and what may be wrong with it."""

    warnings: tuple[TextWarning, ...] = ()


class Model:
    """An open artifact. Its methods may be called from any thread; one generation runs at a time.

    `generator` is the model without text handling: it generates from encoded rows. `close` closes it.
    """

    def __init__(self, generator: TextGenerator) -> None:
        self.generator = generator
        self._generating = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest: lineage, sizes, measured quality and speed, default generation options."""
        return self.generator.manifest

    @property
    def runtime(self) -> str:
        """The name of the runtime that generates."""
        return self.generator.runtime.name

    def generate(
        self,
        texts: Sequence[str],
        *,
        format: Format = "text",
        protect: bool = True,
        glossary: Glossary | Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        warnings: bool = True,
        repair: bool = True,
        source: str | None = None,
        target: str | None = None,
        prefix: str | None = None,
        on_overflow: OnOverflow = "truncate",
        batch_size: int = 32,
        **options: Any,
    ) -> list[ModelOutput]:
        """Generates one output for each text. Translations are made sentence by sentence; line breaks are kept.

        Outputs do not depend on the batch: a text gets the same output alone and among others. An empty text gets an
        empty output. With `num_return_sequences`, outputs have `alternatives`, the next best ones.

        Args:
            texts: the inputs.
            format: `text`, `html` or `markdown`. Translations keep the markup, summaries have none.
            protect: whether numbers, amounts, dates, URLs, code and their like stay as they are, or are written as the
                target language writes them. Words that the model cannot write stay as they are too. Translation only.
            glossary: terms, and what stands for them in translations. `text.glossary_files` reads one from a file.
            keep: names that stay as they are.
            warnings: whether outputs are checked: their language, length, end, repetitions, numbers, dates, names.
            repair: whether outputs that repeat themselves, are far too short or long, or have lost something are
                generated once more. `repaired` of an output says what is right now. Needs `warnings`.
            source: language of the texts, by its code or its token, such as `de` or `deu_Latn`. Translation only.
            target: language of the outputs.
            prefix: text put before every input. None means the artifact's own, such as "summarize: ".
            on_overflow: what happens to an input that is longer than the model reads: `truncate` or `error`.
            batch_size: rows (sentences, or whole texts) that are generated together.
            **options: fields of `GenerationOptions` (`num_beams`, `max_new_tokens`, `do_sample`, ...) in place of the
                artifact's defaults.

        Returns:
            The outputs in the order of the texts.

        Raises:
            TypeError: `texts` is a string.
            InvalidOptions: an option is unknown, out of range, or not possible with this model.
            UnsupportedLanguages: the artifact does not translate from `source` to `target`.
            InvalidPrompt: the prefix is too long, a text has nothing but markup, or a glossary cannot be followed.
            MarkupTooComplex, UnclosedMarkup: the markup of a text cannot be read.
            TextTooLong: an input is too long and `on_overflow` is `error`.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of strings; for one text pass [text]")
        prompt = Prompt(list(texts), options, on_overflow, prefix=prefix, format=format, protect=protect, repair=repair)
        planned = self._plan(replace(prompt, source=source, target=target, glossary=glossary, keep=keep))
        with self._generating:
            if warnings:
                outputs, found_warnings = generate_all(self.generator, planned, batch_size)
                return [_model_output(*pair) for pair in zip(outputs, found_warnings, strict=True)]
            rows = run_all(self.generator, planned, batch_size).in_order
        return [_model_output(each) for each in planned.with_alternatives(rows, planned.assemble(rows))]

    def stream(
        self,
        text: str,
        *,
        format: Format = "text",
        protect: bool = True,
        glossary: Glossary | Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        source: str | None = None,
        target: str | None = None,
        prefix: str | None = None,
        on_overflow: OnOverflow = "truncate",
        **options: Any,
    ) -> Iterator[str]:
        """Generates the output of one text, piece by piece. Closing the iterator stops the generation.

        Greedy search and sampling yield each piece at its step. Beam search yields a sentence at its end, since until
        then another beam may win. A sentence in which something is protected is also yielded at its end. With markup,
        a piece is a section. Options and errors are the same as in `generate`. Errors are raised at the call.

        Yields:
            Pieces that add up to the text that `generate` returns with `repair=False`.
        """
        prompt = Prompt([text], options, on_overflow, prefix=prefix, format=format, protect=protect)
        return self._pieces(self._plan(replace(prompt, source=source, target=target, glossary=glossary, keep=keep)))

    def close(self) -> None:
        """Frees the model's memory. The model cannot be used afterwards."""
        self.generator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plan(self, prompt: Prompt) -> Plan:
        """Checks the arguments of a call, and splits its texts into rows."""
        known = GenerationOptions.model_fields
        unknown = sorted(prompt.options.keys() - known.keys())
        if unknown:
            raise InvalidOptions(f"unknown option {unknown[0]!r}; known are {', '.join(known)}")
        for name, value, kind in (
            ("format", prompt.format, Format),
            ("on_overflow", prompt.on_overflow, OnOverflow),
        ):
            if value not in get_args(kind):
                raise InvalidOptions(f"{name}: {value!r} is not one of {', '.join(get_args(kind))}")
        return plan(self.generator, prompt, max_rows=sys.maxsize)

    def _pieces(self, planned: Plan) -> Iterator[str]:
        """Generates row by row in a thread of its own, which ends before this iterator does.

        The thread sends events: a row's token, a row's output, an exception, or None at the end. This iterator turns
        them into pieces of text.
        """
        events: queue.SimpleQueue[tuple[int, int | TextOutput] | BaseException | None] = queue.SimpleQueue()
        is_closed = threading.Event()

        def run_passes(row: int) -> TextOutput:
            """Generates all passes of a row. Only the first pass reports tokens."""
            callbacks = GenerationCallbacks(
                on_token=lambda _, token: events.put((row, token)), is_cancelled=is_closed.is_set
            )
            [first] = self.generator.generate([planned.rows[row]], planned.options, callbacks)
            passes = RowPasses(self.generator, planned)
            rows = passes.begin([(row, first)])
            while rows and not is_closed.is_set():
                rows = passes.go_on(self.generator.generate(rows, planned.options))
            return passes.outputs.get(row, first)

        def run() -> None:
            try:
                with self._generating:
                    for row in range(len(planned.rows)):
                        events.put((row, run_passes(row)))
                events.put(None)
            # Any exception is raised in the caller's thread.
            except BaseException as error:
                events.put(error)

        assembly = new_assembly(self.generator, planned)
        thread = threading.Thread(target=run, name="slimseq-stream", daemon=True)
        thread.start()
        try:
            yield from (piece.text for piece in assembly.begin())
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                row, received = event
                if isinstance(received, TextOutput):
                    pieces = assembly.on_row(row, received)
                else:
                    pieces = assembly.on_token(row, received)
                yield from (piece.text for piece in pieces)
        finally:
            is_closed.set()
            thread.join()


def _model_output(output: TextOutput, warnings: Sequence[TextWarning] = ()) -> ModelOutput:
    fields = {each.name: getattr(output, each.name) for each in dataclass_fields(TextOutput)}
    return ModelOutput(**fields, warnings=tuple(warnings))


def load(folder: str | Path, *, runtime: str | None = None, threads: int = 0) -> Model:
    """Verifies an artifact and opens it.

    Args:
        folder: the artifact's folder, `STORE/TASK/VARIANT`, such as `models_store/artifacts/translation/compact`.
        runtime: `onnxruntime`, `ctranslate2`, `torch`, ...; None means the first one that can open the artifact.
        threads: threads of one generation; 0 lets the runtime choose.

    Raises:
        UnsafeArtifactPath: the folder is not `STORE/TASK/VARIANT`.
        UnknownVariant: there is no artifact.
        InvalidArtifact, CorruptArtifact: the manifest cannot be read, or a file differs from its hash.
        RuntimeUnavailable: the runtime is unknown or not installed, or the artifact lacks the files for it.
        Unprepared: files that the runtime needs are not built and cannot be built here.
    """
    path = Path(folder).absolute()
    names = [task.value for task in Task]
    if path.parent.name not in names:
        raise UnsafeArtifactPath(f"{folder} is not the folder of an artifact, STORE/{'|'.join(names)}/VARIANT")
    store, task = Store(path.parents[1]), Task(path.parent.name)
    return Model(open_generator(store, task, path.name, runtime, threads))
