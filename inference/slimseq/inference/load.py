"""The Python API: `load` opens an artifact, and the `Model` that it returns generates text.

It is for scripts and notebooks: one caller, one artifact. The service (`slimseq.app`) serves many callers and variants.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from slimseq.inference.generator import OnOverflow, TextGenerator, TextOutput, open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InvalidOptions, UnsafeArtifactPath
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.record import first_error
from slimseq.models_store.store import Store


class Model:
    """An open artifact. Its methods may be called from any thread; one generation runs at a time.

    Args:
        generator: the open artifact. `close` closes it.
    """

    def __init__(self, generator: TextGenerator) -> None:
        self._generator = generator
        self._generating = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest: lineage, sizes, measured quality and speed, default generation options."""
        return self._generator.manifest

    @property
    def runtime(self) -> str:
        """The name of the runtime that generates."""
        return self._generator.runtime.name

    def generate(
        self,
        texts: Sequence[str],
        *,
        prefix: str | None = None,
        on_overflow: OnOverflow = "truncate",
        batch_size: int = 32,
        **options: Any,
    ) -> list[TextOutput]:
        """Generates one output for each text.

        Outputs do not depend on the batch: a text gets the same output alone and among others.

        Args:
            texts: the inputs.
            prefix: text put before every input. None means the artifact's own, such as "summarize: ".
            on_overflow: what happens to an input that is longer than the model reads: `truncate` or `error`.
            batch_size: inputs that are generated together.
            **options: fields of `GenerationOptions` (`num_beams`, `max_new_tokens`, `do_sample`, ...) in place of the
                artifact's defaults.

        Returns:
            The outputs in the order of the texts.

        Raises:
            TypeError: `texts` is a string.
            InvalidOptions: an option is unknown, out of range, or not possible with this model.
            InputTooLong: an input is too long and `on_overflow` is `error`.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of strings; for one text pass [text]")
        chosen = self._options(options)
        encodings = self._encode(texts, prefix, on_overflow)
        # Inputs of similar length share a batch, which so has little padding.
        order = sorted(range(len(encodings)), key=lambda place: len(encodings[place].ids))
        outputs: dict[int, TextOutput] = {}
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            with self._generating:
                found = self._generator.generate([encodings[place] for place in places], chosen)
            outputs |= zip(places, found, strict=True)
        return [outputs[place] for place in range(len(encodings))]

    def stream(
        self, text: str, *, prefix: str | None = None, on_overflow: OnOverflow = "truncate", **options: Any
    ) -> Iterator[str]:
        """Generates the output of one text, piece by piece. Closing the iterator stops the generation.

        Greedy search and sampling yield each piece at its step. Beam search yields all pieces at the end, since until
        then another beam may win.

        Args:
            text: the input.
            prefix: as for `generate`.
            on_overflow: as for `generate`.
            **options: as for `generate`.

        Yields:
            Pieces that add up to the text that `generate` returns.

        Raises:
            InvalidOptions: as `generate` does.
            InputTooLong: as `generate` does.
        """
        chosen = self._options(options)
        [encoding] = self._encode([text], prefix, on_overflow)
        return self._pieces(encoding, chosen)

    def close(self) -> None:
        """Frees the model's memory. The model cannot be used afterwards."""
        self._generator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _options(self, options: dict[str, Any]) -> GenerationOptions:
        unknown = sorted(options.keys() - GenerationOptions.model_fields.keys())
        if unknown:
            raise InvalidOptions(
                f"unknown option {unknown[0]!r}; known are {', '.join(GenerationOptions.model_fields)}"
            )
        try:
            chosen = self.manifest.generation.options(**options)
        except ValidationError as error:
            raise InvalidOptions(first_error(error, whole="options")) from error
        self._generator.check(chosen)
        return chosen

    def _encode(self, texts: Sequence[str], prefix: str | None, on_overflow: OnOverflow) -> list[Encoding]:
        encodings = self._generator.encode_many(texts, prefix)
        if on_overflow == "error":
            for encoding in encodings:
                self._generator.check_fits(encoding)
        return encodings

    def _pieces(self, encoding: Encoding, options: GenerationOptions) -> Iterator[str]:
        """Runs the generation in a thread of its own, which ends before this iterator does."""
        events: queue.SimpleQueue[int | TextOutput | BaseException] = queue.SimpleQueue()
        is_closed = threading.Event()

        def run() -> None:
            callbacks = GenerationCallbacks(lambda _, token: events.put(token), is_closed.is_set)
            try:
                with self._generating:
                    [output] = self._generator.generate([encoding], options, callbacks)
                events.put(output)
            except BaseException as error:
                events.put(error)

        thread = threading.Thread(target=run, name="slimseq-stream", daemon=True)
        thread.start()
        decoder = self._generator.stream()
        text, sent = "", 0
        try:
            while not isinstance(event := events.get(), TextOutput):
                if isinstance(event, BaseException):
                    raise event
                text = (text + decoder.push(event)).lstrip()
                # The final text has no space at its end: such space waits for the next token.
                known = text.rstrip()
                if len(known) > sent:
                    yield known[sent:]
                    sent = len(known)
            if event.text[sent:]:
                yield event.text[sent:]
        finally:
            is_closed.set()
            thread.join()


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
