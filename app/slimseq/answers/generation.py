"""The answers of `/summarize`, `/translate` and `/compare`: outputs, and how the outputs of variants differ."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.answers.problem import Problem
from slimseq.models_store.manifest import Task


class OutputWarning(BaseModel):
    """What may be wrong with an output."""

    kind: str = Field(
        description="`language`: the text is not in the model's language. `length`: the output is much shorter or "
        "longer than the text. `repetition`: the output repeats itself. `truncated`: the text or the output was cut "
        "at a limit. `unfinished`: the output ends in mid-sentence. `lost`: the translation lacks a number of the "
        "text, or something else that `protect` keeps, or the output misspells a name. `number`: the summary has a "
        "number that the text lacks. `date`: the summary has a month or weekday that the text does not name. "
        "`untranslated`: the output repeats the text, or a block of Markdown is as it was, since its translation "
        "would have changed the structure. Newer services may have others."
    )
    detail: str = Field(description="What was found, as a sentence in English. It may quote the text and the output.")


class ScoredText(BaseModel):
    """A generated text."""

    text: str
    score: float | None = Field(
        default=None,
        description="Mean log-probability of the tokens: nearer to 0 is more probable. Absent where not known.",
    )


class Output(ScoredText):
    """One generated text."""

    finish_reason: Literal["eos", "length", "stop"] = Field(
        description="Why generation ended: `eos` at the end-of-sequence token, `length` at `max_new_tokens`, `stop` at "
        "one of the `stop` strings."
    )
    input_tokens: int = Field(description="Tokens of the input that the model read.")
    output_tokens: int = Field(description="Generated tokens.")
    truncated: bool = Field(description="Whether the text was truncated to the model's context window.")
    warnings: list[OutputWarning] | None = Field(
        default=None, description="What may be wrong with the output. Absent where nothing was found."
    )
    repaired: list[str] | None = Field(
        default=None,
        description="Kinds of warnings that the output had before `repair` generated it once more. Absent where it did "
        "not, and where the further try was no better.",
    )
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How sure the model is, as the quality to expect: chrF / 100 of a translation. It follows from "
        "the mean log-probability of the output's tokens, by a map that was fitted on dev data. It is not the "
        "probability that the output is right. Summaries have none. Absent where it is not known, and where "
        "`finish_reason` is not `eos`.",
    )
    alternatives: list[ScoredText] | None = Field(
        default=None,
        description="The next best outputs, best first, where `num_return_sequences` asks for several. Of several "
        "sentences, the k-th has the k-th best translation of each. Equal ones are left out, so there may be fewer.",
    )


class Timings(BaseModel):
    """Durations in milliseconds."""

    queue_ms: float = Field(description="Time in the queue, until generation started.")
    inference_ms: float = Field(description="Time from the start of generation to its end.")
    total_ms: float = Field(description="Total time, including variant selection, loading and tokenization.")


class ExperimentArm(BaseModel):
    """The arm of an experiment that answered."""

    id: str = Field(description="Id of the experiment.")
    arm: str = Field(description="The arm, which has the name of its variant.")


class ChainedVariant(BaseModel):
    """One of the two variants of a translation that goes through another language."""

    variant: str
    digest: str
    runtime: str
    languages: list[str] = Field(description="Source and target.")
    timings: Timings


class Generation(BaseModel):
    """The outputs of one variant, in the order of the request's texts."""

    id: str = Field(description="Id of this response, for `POST /feedback`.")
    task: Task
    variant: str
    digest: str = Field(description="Digest of the artifact that generated.")
    runtime: str = Field(description="Runtime that generated.")
    outputs: list[Output]
    timings: Timings
    selection: str | None = Field(
        default=None, description="Why this variant answered. Absent unless limits of the request selected it."
    )
    experiment: ExperimentArm | None = Field(default=None, description="Absent outside of experiments.")
    through: list[ChainedVariant] | None = Field(
        default=None,
        description="The two variants that translated, since none translates directly. `id`, `variant`, `digest` and "
        "`runtime` are those of the last, tokens, timings and warnings those of both. Absent where one answered.",
    )

    @property
    def text(self) -> str:
        """The text of the only output. Raises a `ValueError` if there are several."""
        if len(self.outputs) != 1:
            raise ValueError(f"there are {len(self.outputs)} outputs; texts has them all")
        return self.outputs[0].text

    @property
    def texts(self) -> list[str]:
        return [output.text for output in self.outputs]


class Piece(BaseModel):
    """Text to append to the output of the text at position `index`."""

    index: int
    text: str


class FailedVariant(BaseModel):
    """A variant of a comparison that failed, and why."""

    variant: str
    error: Problem


class Similarity(BaseModel):
    """How close the outputs of a variant are to those of another one."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    exact: float = Field(description="Share of outputs that are equal.")
    similarity: float = Field(description="Mean similarity of the outputs, between 0 and 1.")


class ComparedAgreement(Similarity):
    """How close the outputs of a variant are to those of another one."""

    reference: str = Field(description="The variant that it is compared with.")


class DiffPart(BaseModel):
    """Words that both outputs have (`equal`), or only the reference (`delete`) or this variant (`insert`)."""

    op: Literal["equal", "delete", "insert"]
    text: str


class ComparedGeneration(Generation):
    """The outputs of one variant, and how they differ from the reference's."""

    agreement: ComparedAgreement | None = Field(
        default=None, description="Absent for the reference itself, and for outputs of more than 10,000 characters."
    )
    diff: list[list[DiffPart]] | None = Field(
        default=None, description="For each output, the word diff from the reference's. Absent where `agreement` is."
    )


class Comparison(BaseModel):
    """The results of the variants, in the order of the request."""

    id: str = Field(description="Id of this comparison, for `POST /feedback`.")
    task: Task
    results: list[ComparedGeneration | FailedVariant]
