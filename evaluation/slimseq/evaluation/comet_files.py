"""COMET of translations: the outputs file that it reads, and its scores as those of manifests.

COMET (Rei et al. 2020, https://aclanthology.org/2020.emnlp-main.213) needs libraries that exclude ours, so it runs in
an environment of its own: `slimseq evaluate --outputs` writes a file, `comet_environment/score.py` beside this module
scores it there, and `slimseq comet` records the scores.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from slimseq.evaluation.bootstrap import interval, retention
from slimseq.evaluation.examples import Example
from slimseq.evaluation.metrics import MetricStatistics, mean_of
from slimseq.evaluation.significance import randomization_p_value
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Name, Task
from slimseq.models_store.measurements import QualityScore
from slimseq.models_store.record import Digest, Record, first_error

METRIC = "comet"


class BadScores(SlimseqError):
    """Raised when a file of COMET scores cannot be read, or is not what `comet_environment/score.py` writes."""


class ScoredVariant(Record):
    """How a variant generated the outputs, for the record."""

    digest: Digest
    reference: Name | None = Field(default=None, description="Its reference, if that was evaluated too.")
    runtime: str
    generation: dict[str, Any]


class OutputsHeader(Record):
    """The first line of an outputs file."""

    task: Task
    dataset: str
    split: str
    samples: int = Field(ge=1)
    cpu_flags: list[str]
    measured_at: str
    variants: dict[Name, ScoredVariant]


class CometScores(Record):
    """What `comet_environment/score.py` writes: a score for each output, in the order of the outputs file."""

    header: OutputsHeader
    model: str = Field(min_length=1)
    version: str
    scores: dict[Name, list[float]]

    @model_validator(mode="after")
    def _every_output_has_a_score(self) -> "CometScores":
        if self.scores.keys() != self.header.variants.keys():
            raise ValueError(f"has scores of {', '.join(self.scores)}, not of {', '.join(self.header.variants)}")
        if self.header.task is not Task.TRANSLATION:
            raise ValueError("has scores of summaries, and COMET judges translations")
        for variant, scores in self.scores.items():
            if len(scores) != self.header.samples:
                raise ValueError(f"has {len(scores)} scores of {variant}, not {self.header.samples}")
            if not all(map(math.isfinite, scores)):
                raise ValueError(f"has a score of {variant} that is not a number")
        return self


def write_outputs(
    path: Path, header: OutputsHeader, examples: Sequence[Example], outputs: Mapping[str, Sequence[str]]
) -> None:
    """Writes an outputs file: the header, then a JSON object for each output, with the keys that COMET reads.

    Args:
        path: the file, replaced atomically.
        header: what was evaluated.
        examples: the sources and targets.
        outputs: by variant, one for each example.

    Raises:
        CannotWrite: the disk is full or read-only.
    """
    lines: list[dict[str, Any]] = [header.model_dump(mode="json")]
    lines += [
        {"variant": variant, "src": example.source, "mt": output, "ref": example.target}
        for variant, texts in outputs.items()
        for example, output in zip(examples, texts, strict=True)
    ]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_scores(path: Path) -> CometScores:
    """Reads the scores that `comet_environment/score.py` wrote.

    Raises:
        BadScores: it cannot be read, or is something else.
    """
    try:
        return CometScores.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadScores(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BadScores(f"{path} is not a file of comet_environment/score.py: {first_error(error, 'file')}") from error


def quality_scores(found: CometScores) -> dict[str, QualityScore]:
    """Returns the score of each variant for its manifest, between 0 and 100, with retention and p-value."""
    signature = f"model:{found.model}|version:{found.version}"
    statistics = {
        variant: MetricStatistics(METRIC, signature, np.array([[100 * each, 1.0] for each in scores]), mean_of)
        for variant, scores in found.scores.items()
    }
    return {variant: _quality_score(found.header, variant, statistics) for variant in statistics}


def _quality_score(header: OutputsHeader, variant: str, statistics: Mapping[str, MetricStatistics]) -> QualityScore:
    scored, own = header.variants[variant], statistics[variant]
    reference = scored.reference if scored.reference in statistics else None
    against = statistics[reference] if reference is not None else None
    kept = retention(own, against) if against is not None else None
    return QualityScore(
        dataset=header.dataset,
        split=header.split,
        samples=header.samples,
        metric=METRIC,
        value=own.value,
        interval=interval(own),
        signature=own.signature,
        generation=scored.generation,
        runtime=scored.runtime,
        cpu_flags=header.cpu_flags,
        reference=header.variants[reference].digest if reference is not None else None,
        retention=kept[0] if kept else None,
        retention_interval=kept[1] if kept else None,
        p_value=randomization_p_value(own, against) if against is not None and against is not own else None,
        measured_at=header.measured_at,
    )
