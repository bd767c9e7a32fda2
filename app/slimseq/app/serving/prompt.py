"""What a request asks for, freed of HTTP: the texts and how to generate from them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from slimseq.inference.generator import OnOverflow

LongInput = Literal["truncate", "map_reduce"]


@dataclass(frozen=True)
class Prompt:
    """Texts and wishes of one request; None means what the artifact does by default.

    Args:
        texts: what to summarize or translate.
        options: generation options by name; None or absent takes the artifact's default.
        on_overflow: what to do with a text that the model cannot read whole.
        long_input: whether a document beyond the model's window is truncated or summarised in parts.
        stop: texts that end an output where they come.
        prefix: put before each text instead of the artifact's.
        source: language of the texts.
        target: language of the outputs.
    """

    texts: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
