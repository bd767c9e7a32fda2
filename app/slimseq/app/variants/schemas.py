"""Responses of `/variants`, `/quality`, `/memory`, `/info` and the probes, beyond those in `slimseq.answers`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slimseq.answers import Retention, Variant
from slimseq.app.observability.live_agreement import LiveAgreement, OfflineAgreement
from slimseq.app.observability.service_metrics import ReplicaName
from slimseq.inference.text.glossary import MAX_FILE_TERMS, MAX_TERMS
from slimseq.models_store.fronts import Front
from slimseq.models_store.manifest import Check, Manifest, Task
from slimseq.models_store.measurements import QualityScore

Detail = Literal["short", "full"]


class ReferenceModel(BaseModel):
    """The base model of a variant. Retention, speed and size are relative to it."""

    variant: str | None = Field(description="Its name in the store. If it is not there: its last known name.")
    digest: str
    is_stored: bool = Field(description="Whether it is in the store.")


class RecordedGate(BaseModel):
    """The quality gate of the recipe that built the variant, as its manifest stores it."""

    verdict: Literal["passed", "rejected", "none"] = Field(description="`none` if no gate was applied.")
    checks: list[Check] = Field(description="The conditions of the gate, with the measured values.")


class Quality(BaseModel):
    """Retention, agreement with the reference, and gate of a variant."""

    retention: Retention | None = Field(description="None if it was not measured.")
    agreement: OfflineAgreement | None = Field(description="None for a base model, and if it was not measured.")
    gate: RecordedGate


class VariantQuality(Quality):
    """The quality of a variant, as recorded and on live requests."""

    task: Task
    variant: str
    digest: str
    reference: ReferenceModel
    live_agreement: LiveAgreement | None = Field(
        description="Agreement on live requests. The reference, or the variant of `SLIMSEQ_SHADOW_TRANSLATION` or "
        "`SLIMSEQ_SHADOW_SUMMARIZATION`, answers a share of them again, `SLIMSEQ_SHADOW_SHARE`. None if it answered "
        "none."
    )
    scores: list[QualityScore] | None = Field(default=None, description="All scores, with `detail=full` only.")


class QualityReport(BaseModel):
    """The quality of all variants with a readable manifest, each base model before its variants."""

    qualities: list[VariantQuality]


class Speed(BaseModel):
    """The speed and memory of a variant, in the setting that most variants of its base model were measured in."""

    tokens_per_second: float
    speed_up: float | None = Field(
        description="Tokens a second divided by those of the base model, in the same run on the same machine and "
        "runtime. None if no run measured both."
    )
    base_tokens_per_second: float | None = Field(description="Tokens a second of the base model in that run.")
    no_speed_up: str | None = Field(description="Why there is no speed-up.")
    resident_bytes: int = Field(description="Memory of the loaded variant.")
    p50_ms: float = Field(description="Median milliseconds of a batch.")
    p95_ms: float
    runtime: str
    batch: int = Field(description="Number of texts at a time.")
    num_beams: int
    threads: int
    input_tokens: int = Field(description="Mean number of tokens of a source.")
    output_tokens: int = Field(description="Mean number of tokens of an output.")
    host: str = Field(description="Machine of the measurement: its CPU and the number of cores.")
    machine: str = Field(description="`host` with the int8 instructions of its CPU.")
    measured_at: str = Field(description="ISO 8601 date and time, UTC.")
    is_here: bool = Field(description="Whether it was measured on this machine, or on one like it.")
    is_rough: bool = Field(description="Whether other processes kept the machine busy meanwhile.")


class Weights(BaseModel):
    """The weights of a variant in their smallest format."""

    format: str
    bytes: int
    times_smaller: float | None = Field(
        description="Bytes of the base model in fp32, divided by `bytes`. None if the base model is not in the store."
    )


class Published(BaseModel):
    """What the tables of the documentation say of a variant, where it is something else than here."""

    digest: str = Field(description="Digest of the artifact that was measured.")
    is_same: bool = Field(
        description="Whether the artifact here has the same files. A CPU with other int8 instructions makes other ones."
    )
    retention: Retention | None
    speed: Speed | None


class Calibration(BaseModel):
    """How well the confidence of outputs was fitted on dev data. The manifest has the map itself."""

    model_config = ConfigDict(from_attributes=True)

    is_used: bool = Field(
        description="Whether outputs have a `confidence`: if `spearman_interval` is above 0. Else it may say nothing."
    )
    metric: str = Field(description="Quality of one output: `chrf` (divided by 100).")
    dataset: str = Field(description="Data sets, joined by ` + `.")
    samples: int
    spearman: float = Field(
        description="Rank correlation of the confidence with the quality: 1 is the right order of outputs, 0 says "
        "nothing."
    )
    spearman_interval: tuple[float, float] = Field(description="95 % interval.")
    calibration_error: float = Field(
        description="Mean difference of expected and actual quality, on samples that were not used."
    )


class VariantSummary(Variant):
    """A variant with its status, size and quality."""

    loaded_digest: str | None = Field(
        description="Digest of the loaded artifact. It differs from `digest` if the artifact on disk was replaced."
    )
    family: str | None = Field(description="Model family, such as `t5`.")
    sources: list[str] = Field(
        default=[], description="Codes of the languages that it translates from, that of `languages` first."
    )
    targets: list[str] = Field(
        default=[], description="Codes of the languages that it translates into, that of `languages` first."
    )
    reference: ReferenceModel | None = Field(
        description="Base model of the variant: itself for a base model. None if the manifest cannot be read."
    )
    weights: Weights | None = Field(description="None if it has no weights.")
    quality: Quality | None = Field(description="Retention and gate.")
    speed: Speed | None = Field(description="None if it was not measured like the other variants of its base model.")
    published: Published | None = Field(
        description="Recorded figures of another machine or of other files. None if `speed` and `quality` are those."
    )
    left_out: str | None = Field(
        description="Why `min_retention` and other limits never select it, or cannot compare it. None if they can."
    )
    confidence: Calibration | None = Field(
        description="Calibration of the `confidence` of outputs: how well that ranks them by quality. None if the "
        "variant is not calibrated."
    )


class ServedPair(BaseModel):
    """A pair of languages that a variant translates, or a language of summaries, and its default variant."""

    task: Task
    languages: list[str] = Field(description="As in `variants`: source and target, or the language of summaries.")
    variant: str | None = Field(
        description="The default variant of the pair: it answers requests of the pair that name no variant. None if no "
        "variant may be it, as where gates rejected all, or where two variants translate by way of English."
    )
    default_reason: str = Field(description="Why it is the default variant.")
    is_default: bool = Field(description="Whether this pair answers requests of the task that name no language.")


class CompressFront(Front):
    """The result of a run of `compress`: the variants that it made of an original, and which one it chose.

    It has only those of its variants that are in the store as the run measured them. So the chosen one may be missing.
    """

    task: Task


class VariantList(BaseModel):
    """All variants by task: each base model, `original` first, followed by its variants."""

    replica: ReplicaName
    variants: list[VariantSummary]
    pairs: list[ServedPair] = Field(
        description="The languages of the variants by task, each pair once, the one that answers requests without "
        "languages first. A model of many languages has the pair of its defaults here."
    )
    chained: dict[str, list[str]] = Field(
        description="What `/translate` makes of two variants, by way of English, since none translates directly: by "
        "`source`, each `target`."
    )
    fronts: list[CompressFront] = Field(description="What runs of `compress` found, the newest one of each original.")


class VariantDetail(VariantSummary):
    """A variant with its manifest."""

    replica: ReplicaName
    manifest: Manifest | None = Field(description="None if it cannot be read.")


class VariantMemory(BaseModel):
    """Memory of a loaded variant."""

    task: Task
    variant: str
    runtime: str
    resident_bytes: int = Field(description="Measured growth of the process when the variant was loaded.")
    disk_bytes: int = Field(description="Bytes on disk of the format that the runtime reads.")
    load_seconds: float = Field(description="Time to verify and load it.")


class MemoryReport(BaseModel):
    """Memory of the process and of its loaded variants."""

    replica: ReplicaName
    process_resident_bytes: int
    base_resident_bytes: int = Field(
        description="Memory of the process without variants: Python and the libraries of the runtimes, as measured "
        "before the first load. 0 until then. With the variants, and what requests in progress need, it adds up to the "
        "memory of the process."
    )
    host_available_bytes: int
    budget_bytes: int | None = Field(description="Memory budget for loaded variants. None means no limit.")
    evictions: int = Field(description="Number of variants unloaded to stay within the budget.")
    variants: list[VariantMemory]


class RuntimeInfo(BaseModel):
    """A runtime for artifacts."""

    name: str
    format: str
    is_installed: bool


class ArtifactInfo(BaseModel):
    """The digest of an artifact on disk and in memory."""

    task: Task
    variant: str
    digest: str
    loaded_digest: str | None = Field(description="Digest of the loaded artifact. None if it is not loaded.")


class DatasetInfo(BaseModel):
    """A data set that evaluations may name, and the languages that it is in."""

    name: str
    task: Task
    languages: list[str] = Field(description="Source and target, or the language of summaries.")


class HostInfo(BaseModel):
    """The machine. The CPU flags decide the speed of int8."""

    cpu: str
    cpu_flags: list[str]
    cores: int


class Info(BaseModel):
    """Versions, runtimes, machine and artifacts of the service."""

    version: str
    python: str
    platform: str
    libraries: dict[str, str] = Field(description="Versions of the libraries, by name.")
    runtimes: list[RuntimeInfo]
    host: HostInfo
    max_glossary_terms: int = Field(default=MAX_TERMS, description="Maximum number of terms in a request's glossary.")
    max_glossary_file_terms: int = Field(default=MAX_FILE_TERMS, description="The same of a glossary's file.")
    artifacts: list[ArtifactInfo]
    datasets: list[DatasetInfo] = Field(description="Data sets that `POST /evaluations` takes by name.")
    limits: dict[str, int] = Field(
        description="Limits of a request, those of counts with at most 4 beams, and of the connections at once."
    )


class Health(BaseModel):
    """The response of a probe."""

    status: Literal["ok", "ready", "degraded"]
    degraded: list[str] = Field(default=[], description="Loaded variants whose last generation failed.")
