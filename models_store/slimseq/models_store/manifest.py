"""The schema of `manifest.json`: an artifact's identity, lineage, files and their formats, quality and performance.

Other packages need only the manifest to list, choose or describe an artifact. `slimseq.models_store.store` reads it.
"""

import hashlib
import json
import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.json_record import Digest, Record
from slimseq.models_store.measurements import ConfidenceCalibration, MeasuredLayout, Performance, QualityScore

SAFETENSORS_FORMAT: Final = "safetensors"
SAFETENSORS: Final = ".safetensors"
# The files that each derived format needs in its folder.
DERIVED_FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "onnx": ("encoder.onnx", "decoder.onnx"),
    "ctranslate2": ("model.bin", "shared_vocabulary.json", "config.json"),
}
FORMATS: Final = (SAFETENSORS_FORMAT, *DERIVED_FORMATS)
# The files that every format needs in addition to its own.
COMMON_FILES: Final = ("config.json", "tokenizer.json")

# Limits of lists in a manifest. A model of 100 shards, or an artifact that a dozen techniques made, is far below.
MAX_FILES: Final = 1000
MAX_STEPS: Final = 200
MAX_MEASUREMENTS: Final = 1000

# The descriptions of the embedded models, and of variants of them, begin with these words.
DEMONSTRATION: Final = "Demonstration weights"

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
# The name of a check of earlier versions, which had no fields for the metric and the data set.
RETENTION_CHECK = re.compile(r"retention of (?P<metric>\S+) on (?P<dataset>.+)")

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _inside(path: str) -> str:
    has_special_part = any(part in ("", ".", "..") for part in path.split("/"))
    if "\\" in path or has_special_part:
        raise ValueError(f"{path!r} is not a path inside the artifact")
    return path


def _distinct(files: "list[FileEntry]") -> "list[FileEntry]":
    """Refuses two paths that mean the same file on some file systems: they differ in case or Unicode form alone."""
    if len({unicodedata.normalize("NFC", file.path).casefold() for file in files}) < len(files):
        raise ValueError("lists a file twice")
    return files


def format_of(path: str) -> str | None:
    """Returns the format that a file belongs to, or None for a file that every format needs."""
    top = path.split("/", 1)[0]
    if top in DERIVED_FORMATS:
        return top
    return SAFETENSORS_FORMAT if path.endswith(SAFETENSORS) else None


def missing_files(name: str, paths: set[str]) -> list[str]:
    """Returns the files of a format that an artifact with these paths lacks. For safetensors, any one suffices."""
    if name not in FORMATS:
        return []
    needed = [*COMMON_FILES, *(f"{name}/{file}" for file in DERIVED_FORMATS.get(name, ()))]
    missing = [path for path in needed if path not in paths]
    if name == SAFETENSORS_FORMAT and not any(path.endswith(SAFETENSORS) for path in paths):
        missing.append(f"a {SAFETENSORS} file")
    return missing


class Task(StrEnum):
    """The task of an artifact."""

    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"


class FileEntry(Record):
    """A file of an artifact. `path` is relative to the artifact's folder, with forward slashes."""

    path: Annotated[str, AfterValidator(_inside)]
    bytes: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Files = Annotated[list[FileEntry], Field(max_length=MAX_FILES), AfterValidator(_distinct)]


class Step(Record):
    """A technique in the lineage of an artifact."""

    technique: str
    parameters: dict[str, Any] = Field(default={})
    parent: Digest | None = Field(default=None, description="Digest of the artifact that the step started from.")
    seed: int | None = None
    versions: dict[str, str] = Field(default={})
    seconds: float = Field(default=0.0, ge=0)
    device: str = "cpu"
    key: str | None = Field(default=None, description="Hash of parent, options, seed and data, if a recipe built it.")


class Reference(Record):
    """The root of a lineage. Retention, speed and size are relative to it. `slimseq.models_store.lineage` finds it."""

    variant: Name | None = Field(default=None, description="Its name. It may have been renamed since.")
    digest: Digest


class Check(Record):
    """A condition of a gate. `limit` is the minimum `value` that passes. An undefined value does not pass.

    `slimseq.evaluation.gate` makes it. Conditions on retention name their metric and data set.
    """

    name: str
    value: float | None
    limit: float
    is_passed: bool
    metric: str | None = Field(default=None, description="Metric of the retention. None for other conditions.")
    dataset: str | None = Field(default=None, description="Data set of the retention. None for other conditions.")
    interval: tuple[float, float] | None = Field(default=None, description="95 % interval of the retention.")
    is_confident: bool = Field(
        default=False, description="Whether the lower bound of the interval must reach the limit, and not only `value`."
    )
    warnings: list[str] = Field(
        default=[], description="Why the value says less than it seems to: too few samples, or a useless base model."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_its_name(cls, given: Any) -> Any:
        name = given.get("name") if isinstance(given, dict) else None
        found = RETENTION_CHECK.fullmatch(name) if isinstance(name, str) else None
        if found is None or given.get("metric") is not None:
            return given
        return given | found.groupdict()


class Verdict(Record):
    """The verdict of a recipe's gate. A rejected artifact stays in the store, and is served only if it is named."""

    status: Literal["passed", "rejected"]
    checks: list[Check]


class Size(Record):
    """Size of an artifact."""

    parameters: int = Field(ge=0)
    nonzero_parameters: int = Field(ge=0)
    bytes_by_format: dict[str, int] = Field(default={})
    fp32_bytes: int = Field(default=0, ge=0, description="Bytes of the parameters in fp32.")


class Manifest(Record):
    """The content of `manifest.json`."""

    schema_version: Literal[1] = 1
    task: Task
    variant: Name
    family: Name = Field(
        description="Model family, such as `t5`. `slimseq.inference.models.registry` lists the families."
    )
    languages: list[str]
    license: str
    training_data: str
    description: str = ""
    lineage: list[Step] = Field(max_length=MAX_STEPS)
    reference: Reference | None = Field(
        default=None, description="Root of the lineage: itself for a root. Older manifests have none."
    )
    size: Size
    files: Files
    digest: Digest
    generation: GenerationDefaults
    quality: list[QualityScore] = Field(default=[], max_length=MAX_MEASUREMENTS)
    performance: list[Performance] = Field(default=[], max_length=MAX_MEASUREMENTS)
    layouts: list[MeasuredLayout] = Field(default=[], max_length=MAX_MEASUREMENTS)
    confidence: ConfidenceCalibration | None = Field(
        default=None, description="Calibration of the confidence of translations. None for summaries."
    )
    gate: Verdict | None = Field(default=None, description="Verdict of the recipe's gate. None if no gate was applied.")

    @property
    def is_rejected(self) -> bool:
        return self.gate is not None and self.gate.status == "rejected"

    @property
    def is_demonstration(self) -> bool:
        """Whether the description says that the artifact is an embedded model, or was made from one."""
        return self.description.startswith(DEMONSTRATION)

    @model_validator(mode="after")
    def _files_are_whole(self) -> Self:
        if self.digest != digest_of(self.files):
            raise ValueError("digest does not match the listed files")
        if not self.files:
            raise ValueError("lists no files, and only listed files are opened")
        paths = {file.path for file in self.files}
        for name in self.size.bytes_by_format:
            missing = missing_files(name, paths)
            if missing:
                raise ValueError(f"has the format {name} but does not list {', '.join(missing)}")
        return self

    @property
    def sources(self) -> list[str]:
        """Codes of the languages that the artifact translates from. The default language is first."""
        own = self.languages[:1]
        tokens = self.generation.language_tokens
        can_choose_source = all(code in tokens for code in own)
        return list(dict.fromkeys([*own, *tokens])) if can_choose_source else own

    @property
    def targets(self) -> list[str]:
        """Codes of the languages that the artifact translates into. The default language is first."""
        return list(dict.fromkeys([*self.languages[1:2], *self.generation.language_tokens]))

    @property
    def parent(self) -> str | None:
        """Digest of the artifact that the last step started from, or None for an original."""
        return self.lineage[-1].parent if self.lineage else None

    @property
    def measured(self) -> dict[str, Any]:
        """The measured fields. Measurements stay valid when the same files are built again."""
        return {name: getattr(self, name) for name in ("quality", "performance", "layouts", "confidence")}

    def has_format(self, name: str) -> bool:
        """Whether the artifact's own files include the format (`safetensors`, `onnx`, `ctranslate2`)."""
        return name in self.size.bytes_by_format


def digest_of(files: list[FileEntry]) -> str:
    """Returns `sha256:` and the hash over the canonical list of files: sorted by path, compact JSON, UTF-8."""
    canonical = [[file.path, file.bytes, file.sha256] for file in sorted(files, key=lambda file: file.path)]
    content = json.dumps(canonical, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
