"""The schema of `manifest.json`: an artifact's identity, lineage, files, quality and performance.

Other packages need only the manifest to list, choose or describe an artifact. `slimseq.models_store.store` reads it.
"""

import hashlib
import json
import math
from bisect import bisect_right
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from slimseq.models_store.formats import missing_files

SCHEMA_VERSION: Final = 1
# Upper bound of `num_beams`: each beam costs as much as one more text.
MAX_BEAMS: Final = 16
# Below it, logits divided by the temperature may exceed float32. vLLM has the same minimum (`_MAX_TEMP`).
MIN_TEMPERATURE: Final = 0.01
# A smaller value has the same effect: only the most probable token is kept.
MIN_TOP_P: Final = 1e-6
MIN_REPETITION_PENALTY: Final = 0.1
# Decimals of a confidence. What it is fitted to is not known better, and the last digits of log-probabilities in fp32
# may depend on the other rows of a batch.
CONFIDENCE_DIGITS: Final = 2

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    if not path or path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not a path inside the artifact")
    return path


class Task(StrEnum):
    """The task of an artifact."""

    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"


class Record(BaseModel):
    """Base of every part of a manifest: immutable, without unknown keys."""

    # JSON has neither infinity nor NaN: what is written must be readable.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GenerationOptions(Record):
    """All generation options. Names and meanings are those of `transformers.GenerationConfig`."""

    num_beams: int = Field(
        default=1, ge=1, le=MAX_BEAMS, description="Number of beams for beam search. 1 means no beam search."
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
    min_new_tokens: int = Field(default=0, ge=0, le=1024, description="Minimum number of tokens to generate.")
    max_new_tokens: int = Field(
        default=128,
        ge=1,
        le=1024,
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

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"do_sample uses a single beam; num_beams is {self.num_beams}")
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) is above max_new_tokens ({self.max_new_tokens})")
        return self


class GenerationDefaults(GenerationOptions):
    """Default generation settings of an artifact."""

    prefix: str = Field(default="", description="Text before every input, such as `summarize: `.")
    max_input_tokens: int = Field(
        default=512, ge=8, le=16384, description="Maximum number of input tokens, including special tokens."
    )
    source_language_token: str | None = Field(
        default=None, description="Token of the source language, if the model has such tokens."
    )
    target_language_token: str | None = Field(
        default=None, description="Token of the target language, if the model has such tokens."
    )

    def options(self, **overrides: Any) -> GenerationOptions:
        """Returns the options of one generation: these defaults, with `overrides` that are not None.

        Raises:
            pydantic.ValidationError: an override is out of range or contradicts another option.
        """
        chosen = self.model_dump(include=set(GenerationOptions.model_fields))
        given = {name: value for name, value in overrides.items() if value is not None}
        if given.get("do_sample"):
            chosen["num_beams"] = 1
        chosen |= given
        return GenerationOptions(**chosen)


class FileEntry(Record):
    """A file of an artifact. `path` is relative to the artifact's folder, with forward slashes."""

    path: Annotated[str, AfterValidator(_inside)]
    bytes: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Step(Record):
    """A technique in the lineage of an artifact."""

    technique: str
    parameters: dict[str, Any] = {}
    parent: Digest | None = Field(default=None, description="Digest of the artifact that the step started from.")
    seed: int | None = None
    versions: dict[str, str] = {}
    seconds: float = Field(default=0.0, ge=0)
    device: str = "cpu"
    key: str | None = Field(default=None, description="Hash of parent, options, seed and data, if a recipe built it.")


class Reference(Record):
    """The root of a lineage. Retention, speed and size are relative to it. `slimseq.models_store.roots` finds it."""

    variant: Name | None = Field(default=None, description="Its name. It may have been renamed since.")
    digest: Digest


class Check(Record):
    """A condition of a gate. `limit` is the minimum `value` that passes."""

    name: str
    value: float
    limit: float
    is_passed: bool


class Verdict(Record):
    """The verdict of a recipe's gate. A rejected artifact stays in the store, and is served only if it is named."""

    status: Literal["passed", "rejected"]
    checks: list[Check]


class Size(Record):
    """Size of an artifact."""

    parameters: int = Field(ge=0)
    nonzero_parameters: int = Field(ge=0)
    bytes_by_format: dict[str, int] = {}
    fp32_bytes: int = Field(default=0, ge=0, description="Bytes of the parameters in fp32.")


class MeanAgreement(Record):
    """How close a variant's outputs are to its reference's, on the same inputs in the same run."""

    exact: float = Field(ge=0, le=1, description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(ge=0, le=1, description="Mean similarity to the reference's output, by `metric`.")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the mean similarity.")
    metric: str = Field(description="`chrf` (divided by 100) or `rougeL`.")
    cpu_flags: list[str] = Field(
        default=[],
        description="CPU flags, if it was measured on another kind of CPU than the score. The same bytes may give "
        "other outputs there.",
    )


class QualityScore(Record):
    """A metric of an evaluation, with everything needed to repeat it."""

    dataset: str
    split: str
    samples: int = Field(ge=1)
    metric: str
    value: float
    interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    signature: str
    generation: dict[str, Any]
    runtime: str
    cpu_flags: list[str] = []
    reference: Digest | None = Field(
        default=None, description="Digest of the reference. Older scores have none and are relative to `original`."
    )
    retention: float | None = Field(
        default=None, description="Value divided by the reference's value, on the same samples in the same run."
    )
    retention_interval: tuple[float, float] | None = None
    p_value: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Two-sided p-value of paired approximate randomization against the reference.",
    )
    baseline: float | None = Field(default=None, description="The trivial baseline's value on the same samples.")
    agreement: MeanAgreement | None = Field(
        default=None, description="Agreement with the reference, in the score of the primary metric only."
    )
    measured_at: str = Field(default="", description="ISO 8601 date and time, UTC.")


class ConfidenceCalibration(Record):
    """The map from an output's mean log-probability to its expected quality, fitted on dev data."""

    dataset: str = Field(description="Data sets, joined by ` + `.")
    split: str
    samples: int = Field(ge=1)
    metric: str = Field(description="Quality of one output: `chrf` (divided by 100) or `rougeL`.")
    signature: str
    generation: dict[str, Any]
    runtime: str
    cpu_flags: list[str] = []
    points: list[tuple[float, float]] = Field(
        min_length=1,
        description="Mean log-probability and expected quality. Both rise. Between points the map is linear, beyond "
        "them constant.",
    )
    spearman: float = Field(ge=-1, le=1, description="Rank correlation of log-probability and quality.")
    spearman_interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    pearson: float = Field(ge=-1, le=1, description="Linear correlation of log-probability and quality.")
    pearson_interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    calibration_error: float = Field(
        ge=0,
        le=1,
        description="Expected calibration error on half of the samples, of a map that was fitted on the other half.",
    )
    measured_at: str = Field(default="", description="ISO 8601 date and time, UTC.")

    @model_validator(mode="after")
    def _points_rise(self) -> Self:
        places, values = zip(*self.points, strict=True)
        if any(later <= earlier for earlier, later in pairwise(places)):
            raise ValueError("the log-probabilities of the points do not rise")
        if any(later < earlier for earlier, later in pairwise(values)) or values[0] < 0 or values[-1] > 1:
            raise ValueError("the expected quality of the points falls, or is not between 0 and 1")
        return self

    def of(self, mean_log_probability: float) -> float | None:
        """Returns the confidence of an output: its expected quality, rounded to `CONFIDENCE_DIGITS`.

        It is None if log-probabilities say nothing of this variant's outputs: the interval of the rank correlation is
        not above 0.
        """
        if self.spearman_interval[0] <= 0:
            return None
        place = bisect_right(self.points, (mean_log_probability, math.inf))
        if place in (0, len(self.points)):
            return round(self.points[min(place, len(self.points) - 1)][1], CONFIDENCE_DIGITS)
        (left, low), (right, high) = self.points[place - 1 : place + 1]
        share = (mean_log_probability - left) / (right - left)
        return round(low + share * (high - low), CONFIDENCE_DIGITS)


class Performance(Record):
    """A measurement of speed and memory."""

    host: str
    cpu_flags: list[str] = []
    threads: int
    runtime: str
    batch: int
    num_beams: int = 1
    input_tokens: int
    output_tokens: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    tokens_per_second: float
    resident_bytes: int
    measured_at: str = ""


class MeasuredLayout(Record):
    """The throughput that was measured with a number of workers and threads."""

    host: str
    cpu_flags: list[str] = []
    cores: int = Field(ge=1, description="Number of cores of the machine.")
    runtime: str
    workers: int = Field(ge=1, description="Number of concurrent generations.")
    threads: int = Field(ge=1, description="Number of threads of each generation.")
    batch: int = Field(ge=1, description="Number of texts of each generation.")
    num_beams: int = 1
    tokens_per_second: float = Field(description="Throughput of all workers together.")
    measured_at: str = ""


class Manifest(Record):
    """The content of `manifest.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: Task
    variant: Name
    family: Name = Field(
        description="Model family, such as `t5`. `slimseq.inference.models.registry` lists the families."
    )
    languages: list[str]
    license: str
    training_data: str
    description: str = ""
    lineage: list[Step]
    reference: Reference | None = Field(
        default=None, description="Root of the lineage: itself for a root. Older manifests have none."
    )
    size: Size
    files: list[FileEntry]
    digest: Digest
    generation: GenerationDefaults
    quality: list[QualityScore] = []
    performance: list[Performance] = []
    layouts: list[MeasuredLayout] = []
    confidence: ConfidenceCalibration | None = Field(
        default=None, description="Calibration of the confidence of outputs. None if there is none."
    )
    gate: Verdict | None = Field(default=None, description="Verdict of the recipe's gate. None if no gate was applied.")

    @property
    def is_rejected(self) -> bool:
        """Whether a gate rejected the artifact."""
        return self.gate is not None and self.gate.status == "rejected"

    @model_validator(mode="after")
    def _digest_matches_files(self) -> Self:
        if self.digest != digest_of(self.files):
            raise ValueError("digest does not match the listed files")
        return self

    @model_validator(mode="after")
    def _files_are_whole(self) -> Self:
        if not self.files:
            raise ValueError("lists no files, and only listed files are opened")
        paths = {file.path for file in self.files}
        for name in self.size.bytes_by_format:
            if missing := missing_files(name, paths):
                raise ValueError(f"has the format {name} but does not list {', '.join(missing)}")
        return self

    @property
    def parent(self) -> str | None:
        """Digest of the artifact that the last step started from, or None for an original."""
        return self.lineage[-1].parent if self.lineage else None

    @property
    def measured(self) -> dict[str, Any]:
        """The measured fields. They stay valid when the same files are built again."""
        names = ("quality", "performance", "layouts", "confidence")
        return {name: getattr(self, name) for name in names}

    def has_format(self, name: str) -> bool:
        """Whether the artifact's own files include the format (`safetensors`, `onnx`, `ctranslate2`)."""
        return name in self.size.bytes_by_format


def first_error(error: ValidationError, whole: str) -> str:
    """Returns the first validation error on one line: the field, or `whole` if it is not empty, and the message.

    Names are escaped.
    """
    first = error.errors()[0]
    is_unknown = first["type"] == "extra_forbidden"
    message = "is not a known field" if is_unknown else first["msg"].removeprefix("Value error, ")
    names = [name if name.isprintable() else ascii(name)[1:-1] for name in map(str, first["loc"])]
    place = ".".join(names) or whole
    return f"{place}: {message}" if place else message


def digest_of(files: list[FileEntry]) -> str:
    """Returns `sha256:` and the hash over the canonical list of files: sorted by path, compact JSON, UTF-8."""
    canonical = [[file.path, file.bytes, file.sha256] for file in sorted(files, key=lambda file: file.path)]
    text = json.dumps(canonical, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
