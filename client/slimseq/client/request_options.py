"""What calls take: generation options, what selects the variant, and the terms of a request."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

Task = Literal["summarization", "translation"]
Texts = str | Sequence[str]
Format = Literal["text", "html", "markdown"]


class Options(TypedDict, total=False):
    """Generation options, with transformers' names and meanings. One that is left out has the variant's default."""

    num_beams: int
    num_return_sequences: int
    length_penalty: float
    early_stopping: bool
    no_repeat_ngram_size: int
    min_new_tokens: int
    max_new_tokens: int
    repetition_penalty: float
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    seed: int
    stop: Sequence[str]
    on_overflow: Literal["truncate", "error"]
    format: Format
    repair: bool
    # Of summaries.
    prefix: str
    long_input: Literal["truncate", "map_reduce"]
    # Of translations.
    source: str
    target: str
    protect: bool
    # Terms and their targets, or the name of a glossary of the service; and names that stay as they are.
    glossary: Mapping[str, str] | str
    keep: Sequence[str]


class VariantChoice(TypedDict, total=False):
    """What selects the variant and the runtime. None, or left out: no such wish.

    Without a name and without limits, the arm of a running experiment answers, else the default of the pair.
    """

    variant: str | None
    # The least share of the base model's quality, such as 0.98, in place of a name.
    min_retention: float | None
    # The most milliseconds for one text, as measured, and the most bytes of the model's files, likewise.
    max_latency_ms: float | None
    max_bytes: int | None
    runtime: str | None


class RequestTerms(TypedDict, total=False):
    """The terms of a request. None, or left out: no such wish."""

    # Milliseconds in which the service answers, if its own deadline is longer.
    deadline_ms: int | None
    # `low` waits behind others.
    priority: Literal["normal", "low"] | None
    # What keeps its arm of an experiment, or votes, such as the id of a user.
    unit: str | None


class ChosenOptions(Options, VariantChoice, RequestTerms, total=False):
    """Generation options, what selects the variant and the runtime, and the terms of the request."""


class ComparedOptions(Options, RequestTerms, total=False):
    """Generation options, and the terms of the request."""
