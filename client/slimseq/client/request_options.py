"""The arguments of calls: generation options, the choice of the variant, and the terms of a request."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

Task = Literal["summarization", "translation"]
Texts = str | Sequence[str]
Format = Literal["text", "html", "markdown"]


class Options(TypedDict, total=False):
    """Generation options, with transformers' names and meanings. A missing option has the variant's default."""

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
    # Options of summaries.
    prefix: str
    long_input: Literal["truncate", "map_reduce"]
    # Options of translations.
    source: str
    target: str
    protect: bool
    # `glossary` has terms and their targets, or names a glossary of the service. `keep` has names that stay.
    glossary: Mapping[str, str] | str
    keep: Sequence[str]


class VariantChoice(TypedDict, total=False):
    """The choice of the variant and the runtime. None, or left out: the service chooses.

    Without a name and without limits, an arm of a running experiment answers, or else the default of the pair.
    """

    variant: str | None
    # The least share of the base model's quality that the variant keeps, such as 0.98.
    min_retention: float | None
    # The largest measured milliseconds for one text, and the largest size of the model's files in bytes.
    max_latency_ms: float | None
    max_bytes: int | None
    runtime: str | None


class RequestTerms(TypedDict, total=False):
    """The terms of a request. None, or left out: the service's defaults."""

    # Deadline in milliseconds, if the service's own deadline is longer.
    deadline_ms: int | None
    # `low` waits behind other requests.
    priority: Literal["normal", "low"] | None
    # Identifies who keeps an arm of an experiment, or votes, such as the id of a user.
    unit: str | None


class ChosenOptions(Options, VariantChoice, RequestTerms, total=False):
    """Generation options, the choice of the variant and the runtime, and the terms of the request."""


class ComparedOptions(Options, RequestTerms, total=False):
    """Generation options, and the terms of the request."""
