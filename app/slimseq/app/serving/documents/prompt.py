"""The texts of a request and how to generate from them, independent of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from slimseq.app.generate.schemas import Format, LongInput, TextRequest
from slimseq.inference.generator import OnOverflow
from slimseq.models_store.generation import GenerationOptions

_OPTIONS = GenerationOptions.model_fields.keys()
_OTHERS = {"on_overflow", "long_input", "prefix", "source", "target", "format", "protect"}


@dataclass(frozen=True)
class Prompt:
    """Texts and generation options of one request. None means the default of the artifact.

    Args:
        texts: the texts to summarize or translate.
        options: generation options by name. None or absent means the artifact's default.
        on_overflow: what to do with a text that exceeds the model's context window.
        long_input: whether such a document is truncated or summarized part by part.
        stop: strings that end an output.
        prefix: text before each input, in place of the artifact's prefix.
        source: language of the texts.
        target: language of the outputs.
        format: of the texts. The markup of HTML and Markdown is kept in translations, and removed for summaries.
        protect: whether numbers, URLs and their like have to come out as they went in. Translation only.
        ranges: of each text, ranges that have to come out byte for byte, whatever they look like; empty: none.
    """

    texts: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
    format: Format = "text"
    protect: bool = True
    ranges: Sequence[Sequence[tuple[int, int]]] = ()

    @property
    def characters(self) -> int:
        """Number of characters in all texts."""
        return sum(map(len, self.texts))

    @classmethod
    def of(cls, body: TextRequest) -> Self:
        """Returns the prompt of a request's body."""
        given = {name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None}
        return cls(
            texts=[body.text] if isinstance(body.text, str) else body.text,
            options={name: given[name] for name in given.keys() & _OPTIONS},
            stop=tuple(body.stop),
            **{name: given[name] for name in given.keys() & _OTHERS},
        )
