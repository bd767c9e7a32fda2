"""Bodies of generation requests and their answers, as the HTTP contract has them.

Types are strict: a number is never taken for a text, nor a text for a number. Bounds of options are those of
`slimseq.models_store.manifest.GenerationOptions`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.problems import Problem
from slimseq.app.serving.prompt import LongInput, Prompt
from slimseq.inference.generator import OnOverflow
from slimseq.models_store.manifest import (
    MIN_REPETITION_PENALTY,
    MIN_TEMPERATURE,
    MIN_TOP_P,
    GenerationOptions,
    Task,
)


def check_texts(value: Any) -> Any:
    """Checks that a value is a text or a list of texts with something in each, in words where it is not."""
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise PydanticCustomError("slimseq_text", "must not be an empty list")
    for index, text in enumerate(texts):
        place = f"entry {index} " if isinstance(value, list) else ""
        if not isinstance(text, str):
            wanted = "must be a string" if place else "must be a string or a list of strings"
            raise PydanticCustomError(
                "slimseq_text",
                "{place}{wanted}, not {kind}",
                {"place": place, "wanted": wanted, "kind": JSON_KINDS.get(type(text), "something else")},
            )
        if not text.strip():
            raise PydanticCustomError("slimseq_text", "{place}must not be empty", {"place": place})
        if not text.isascii():
            check_unicode(text, place)
    return value


def check_unicode(text: str, place: str) -> None:
    """Refuses half a surrogate pair, which JSON can write and no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "slimseq_text",
            "{place}holds half a surrogate pair at character {position}",
            {"place": place, "position": error.start},
        ) from error


JSON_KINDS = {dict: "an object", list: "a list", int: "a number", float: "a number", bool: "a boolean"}
JSON_KINDS[type(None)] = "null"

Texts = Annotated[
    str | list[str],
    BeforeValidator(check_texts),
    Field(description="One text or a list of texts.", examples=["The children are playing in the garden."]),
]


def check_prefix(prefix: str) -> str:
    """Refuses what `check_unicode` does."""
    check_unicode(prefix, "")
    return prefix


LONG_INPUT = (
    "What to do with a document beyond the model's window: `truncate` as `on_overflow` says, or `map_reduce`: "
    "summarise it part by part, and the parts' summaries again until they fit."
)
Prefix = Annotated[str, Field(max_length=1000), AfterValidator(check_prefix)]
Stop = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(check_prefix)]
Language = Annotated[str, Field(min_length=2, max_length=35, examples=["en"])]


class TextRequest(BaseModel):
    """What every generation takes. An option left out takes the variant's own default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Texts
    num_beams: int | None = Field(default=None, ge=1, le=16, description="Beams; 1 is greedy search.")
    length_penalty: float | None = Field(
        default=None, ge=-5, le=5, description="Exponent of the length that divides a beam's log-probability."
    )
    early_stopping: bool | None = Field(
        default=None, description="Whether beam search ends once `num_beams` candidates are finished."
    )
    no_repeat_ngram_size: int | None = Field(
        default=None, ge=0, le=32, description="Size of the n-grams that may occur only once; 0 is off."
    )
    min_new_tokens: int | None = Field(default=None, ge=0, le=1024, description="Tokens before the end may come.")
    max_new_tokens: int | None = Field(
        default=None, ge=1, le=1024, description="Tokens after which generation ends; for translation, a sentence."
    )
    repetition_penalty: float | None = Field(
        default=None,
        ge=MIN_REPETITION_PENALTY,
        le=10,
        description="Penalty for tokens that were already generated; above 1 discourages repetition.",
    )
    do_sample: bool | None = Field(default=None, description="Whether to sample; sampling uses a single beam.")
    temperature: float | None = Field(
        default=None, ge=MIN_TEMPERATURE, le=100, description="Divides the logits before sampling."
    )
    top_k: int | None = Field(
        default=None,
        ge=0,
        description="Sample among the `top_k` most probable tokens, at most the vocabulary; 0 keeps all of them.",
    )
    top_p: float | None = Field(
        default=None,
        ge=MIN_TOP_P,
        le=1,
        description="Sample among the most probable tokens whose probabilities add up to `top_p`.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="A text's draws with the same seed are the same, whatever else is asked for; without, never twice.",
    )
    stop: list[Stop] = Field(
        default=[], max_length=8, description="Texts that end an output, in translation a sentence, where they come."
    )
    on_overflow: OnOverflow = Field(
        default="truncate", description="What to do with a text that is longer than the model reads."
    )

    def _prompt(self, **more: Any) -> Prompt:
        return Prompt(
            texts=[self.text] if isinstance(self.text, str) else self.text,
            options=self.model_dump(include=set(GenerationOptions.model_fields)),
            on_overflow=self.on_overflow,
            stop=tuple(self.stop),
            **more,
        )


class SummarizeRequest(TextRequest):
    """Texts to summarize."""

    prefix: Prefix | None = Field(default=None, description="Put before each text, not the model's own.")
    long_input: LongInput = Field(default="truncate", description=LONG_INPUT)
    stream: bool = Field(default=False, description="Answer with Server-Sent Events.")

    def prompt(self) -> Prompt:
        """Returns what is asked for, freed of HTTP."""
        return self._prompt(prefix=self.prefix, long_input=self.long_input)


class TranslateRequest(TextRequest):
    """Texts to translate, sentence by sentence."""

    source: Language | None = Field(default=None, description="Language of the texts; must be the variant's.")
    target: Language | None = Field(default=None, description="Language of the outputs; must be the variant's.")
    stream: bool = Field(default=False, description="Answer with Server-Sent Events.")

    def prompt(self) -> Prompt:
        """Returns what is asked for, freed of HTTP."""
        return self._prompt(source=self.source, target=self.target)


class CompareRequest(TextRequest):
    """Texts for several variants: the body of the task that is asked for, without `stream`."""

    prefix: Prefix | None = Field(default=None, description="As for `/summarize`.")
    long_input: LongInput | None = Field(default=None, description="As for `/summarize`.")
    source: Language | None = Field(default=None, description="As for `/translate`.")
    target: Language | None = Field(default=None, description="As for `/translate`.")

    def prompt(self, task: Task) -> Prompt:
        """Returns what is asked for, freed of HTTP.

        Raises:
            InvalidRequest: a field belongs to the other task.
        """
        foreign = ("source", "target") if task is Task.SUMMARIZATION else ("prefix", "long_input")
        for name in foreign:
            if getattr(self, name) is not None:
                raise InvalidRequest(f"{name}: is not a field of {task.value}")
        return self._prompt(
            prefix=self.prefix, long_input=self.long_input or "truncate", source=self.source, target=self.target
        )


class Output(BaseModel):
    """One generated text."""

    text: str
    finish_reason: Literal["eos", "length", "stop"] = Field(
        description="`length` where `max_new_tokens` cut it, `stop` where one of the texts in `stop` came."
    )
    input_tokens: int
    output_tokens: int
    truncated: bool = Field(description="Whether the model read less than the whole text.")


class Timings(BaseModel):
    """Where the time went, in milliseconds."""

    queue_ms: float = Field(description="Waiting for its first row to begin.")
    inference_ms: float = Field(description="From then on until its last row was complete.")
    total_ms: float = Field(description="All of it, with choosing, loading and tokenizing.")


class GenerationResponse(BaseModel):
    """What one variant made of the request's texts, in their order."""

    task: Task
    variant: str
    digest: str
    runtime: str
    outputs: list[Output]
    timings: Timings


class FailedVariant(BaseModel):
    """Why one variant of a comparison gave no answer."""

    variant: str
    error: Problem


class CompareResponse(BaseModel):
    """The variants' answers in the order in which they were named."""

    task: Task
    results: list[GenerationResponse | FailedVariant]
