"""Generation options, and the defaults of an artifact."""

from typing import Any, Final, Self

from pydantic import Field, PrivateAttr, model_validator

from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.json_record import Record

# Upper bound of `num_beams`: each beam costs as much as one more text.
MAX_BEAMS: Final = 16
MAX_NEW_TOKENS: Final = 1024
# The encoder's memory grows with the square of this number.
MAX_INPUT_TOKENS: Final = 16_384

# Logits divided by a smaller temperature may exceed float32. vLLM has the same minimum (`_MAX_TEMP`).
MIN_TEMPERATURE: Final = 0.01

# A smaller value has the same effect: only the most probable token is kept.
MIN_TOP_P: Final = 1e-6

MIN_REPETITION_PENALTY: Final = 0.1


class GenerationOptions(Record):
    """All generation options. Names and meanings are those of `transformers.GenerationConfig`."""

    num_beams: int = Field(
        default=1, ge=1, le=MAX_BEAMS, description="Number of beams for beam search. 1 means no beam search."
    )
    num_return_sequences: int = Field(
        default=1, ge=1, le=MAX_BEAMS, description="Number of outputs for each text, best first. At most `num_beams`."
    )
    length_penalty: float = Field(
        default=1.0,
        ge=-5,
        le=5,
        description="Exponential penalty to the length in beam search: the log-likelihood of a sequence is divided by "
        "its length to this power. Above 0 promotes longer sequences, below 0 shorter ones.",
    )
    early_stopping: bool = Field(
        default=False,
        description="Stopping condition of beam search. True: stop as soon as there are `num_beams` complete "
        "candidates. False: stop when better candidates are unlikely.",
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, le=32, description="If above 0, all n-grams of that size can only occur once."
    )
    min_new_tokens: int = Field(default=0, ge=0, le=MAX_NEW_TOKENS, description="Minimum number of tokens to generate.")
    max_new_tokens: int = Field(
        default=128,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="Maximum number of tokens to generate (for translation, for each sentence).",
    )
    repetition_penalty: float = Field(
        default=1.0,
        ge=MIN_REPETITION_PENALTY,
        le=10,
        description="Penalty for tokens that were already generated. 1 means no penalty; above 1 discourages "
        "repetition.",
    )
    do_sample: bool = Field(
        default=False, description="Whether to sample instead of greedy decoding. Sampling uses a single beam."
    )
    temperature: float = Field(
        default=1.0, ge=MIN_TEMPERATURE, le=100, description="Value that divides the logits before sampling."
    )
    top_k: int = Field(
        default=0,
        ge=0,
        description="Number of highest-probability tokens to keep for sampling. 0 keeps the whole vocabulary.",
    )
    top_p: float = Field(
        default=1.0,
        ge=MIN_TOP_P,
        le=1,
        description="If below 1, only the smallest set of most probable tokens with probabilities that add up to "
        "`top_p` or higher is kept for sampling.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="Seed of the random generator. The same seed gives the same samples, whatever else is in the "
        "batch. Default: a random seed.",
    )

    # The service sets these fields, when a request chooses the target language or how to search. They are no options.
    _forced_bos_token_id: int | None = PrivateAttr(default=None)
    _speculates: bool = PrivateAttr(default=True)

    @property
    def forced_bos_token_id(self) -> int | None:
        """The token to generate first, in place of the model's own."""
        return self._forced_bos_token_id

    def beginning_with(self, token: int) -> Self:
        """Returns the same options with a token to generate first."""
        options = self.model_copy()
        options._forced_bos_token_id = token
        return options

    @property
    def speculates(self) -> bool:
        """Whether greedy search may draft tokens. Drafts change no output."""
        return self._speculates

    def without_speculation(self) -> Self:
        options = self.model_copy()
        options._speculates = False
        return options

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"do_sample uses a single beam; num_beams is {self.num_beams}")
        if self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences ({self.num_return_sequences}) is above num_beams ({self.num_beams})"
            )
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) is above max_new_tokens ({self.max_new_tokens})")
        return self


class ForcedOptions(GenerationOptions):
    """Options without a search: the output has the `forced_ids`, and `max_new_tokens` is their number."""

    forced_ids: tuple[int, ...]


class UnrestrictedOptions(GenerationOptions):
    """Options with which an output may have any token, even if the model has a shortlist."""


class GenerationDefaults(GenerationOptions):
    """Default generation settings of an artifact."""

    prefix: str = Field(default="", description="Text before every input, such as `summarize: `.")
    max_input_tokens: int = Field(
        default=512, ge=8, le=MAX_INPUT_TOKENS, description="Maximum number of input tokens, including special tokens."
    )
    source_language_token: str | None = Field(
        default=None, description="Token of the source language, if the model has such tokens."
    )
    target_language_token: str | None = Field(
        default=None, description="Token of the target language, if the model has such tokens."
    )
    language_tokens: dict[str, str] = Field(
        default={}, description="Token of each language that a request may choose, by the code of the language."
    )

    def options(self, **overrides: Any) -> GenerationOptions:
        """Returns the options of one generation: these defaults, with `overrides` that are not None.

        Raises:
            pydantic.ValidationError: an override is out of range or contradicts another option.
            InvalidOptions: an override changes how to sample, and there is no sampling.
        """
        chosen = self.model_dump(include=set(GenerationOptions.model_fields))
        given = {name: value for name, value in overrides.items() if value is not None}
        if given.get("do_sample"):
            chosen["num_beams"] = 1
        chosen |= given
        unused = [name for name in ("temperature", "top_k", "top_p") if chosen[name] != getattr(self, name)]
        if unused and not chosen["do_sample"]:
            raise InvalidOptions(f"{unused[0]} has no effect without do_sample: true")
        return GenerationOptions(**chosen)
