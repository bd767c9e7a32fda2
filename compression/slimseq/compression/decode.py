"""`decode`: sets the search with which a variant is served. The weights stay the same.

Which search a model needs is measured on dev data by `slimseq.compression.compress.decoding.decoding_search`; this
technique only writes what was found, so that a recipe repeats it. It has no verb. In a recipe:

    - decode: {num_beams: 2, early_stopping: true}
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pydantic import ValidationError

from slimseq.compression.artifacts.outcome import Outcome, step_of
from slimseq.compression.artifacts.publish import check_name, copy_files, derived, publishing
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.options import COMMON, flat
from slimseq.compression.technique import Job, Technique
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.files import write_json
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Step, Task

# The technique that set the number of beams before this one. Lineages of older artifacts have it.
TUNE_BEAMS = "tune-beams"


@flat(COMMON)
@dataclass(frozen=True)
class DecodeOptions:
    """The settings of the search that change. The others stay as they are."""

    num_beams: int | None = None
    """Number of beams. 1 means greedy search."""
    early_stopping: bool | None = None
    """Whether beam search stops as soon as there are `num_beams` complete candidates."""
    length_penalty: float | None = None
    """Exponential penalty to the length in beam search."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def applied_to(self, generation: GenerationDefaults) -> GenerationDefaults:
        """Returns generation defaults with these settings.

        Raises:
            BadParameters: no setting is given, or one is out of range or contradicts another default.
        """
        if not self.changes:
            names = ", ".join(field.name for field in fields(self))
            raise BadParameters(f"`decode` changes nothing: give at least one of {names}")
        if generation.do_sample:
            raise BadParameters("the variant draws its tokens (do_sample): it has no search to set")
        try:
            return GenerationDefaults(**(generation.model_dump() | self.changes))
        except ValidationError as error:
            raise BadParameters(first_error(error, "decode")) from error


def decode(context: Context, task: Task, variant: str, name: str, options: DecodeOptions) -> Outcome:
    """Publishes an artifact again, with the same weights and another search.

    Raises:
        BadParameters: no setting is given, one is out of range, or the artifact samples.
        UnknownVariant, InvalidArtifact, CorruptArtifact: the artifact cannot be read.
    """
    started = time.monotonic()
    check_name(context, task, name)
    parent = context.store.verify(task, variant)
    generation = options.applied_to(parent.generation)
    found = in_words(generation)
    step = step_of(context, TECHNIQUE.name, asdict(options), parent.digest, started)
    identity = derived(parent, name, f"{parent.description} {found}", step)
    with publishing(context.store, replace(identity, generation=generation), parent) as draft:
        copy_files(parent, context.store.folder(task, variant), draft.folder)
        # transformers reads this file and not the manifest.
        path = draft.folder / "generation_config.json"
        if path.exists():
            write_json(path, read_json(path) | options.changes)
    if parent.has_format("safetensors"):
        add_onnx(context, task, name)
    before = in_words(parent.generation)
    return Outcome(context.store.manifest(task, name), chosen=[f"{found} Before: {before}"])


def in_words(generation: GenerationDefaults) -> str:
    """Returns a sentence about the search of a model."""
    if generation.num_beams == 1:
        return "Searches greedily."
    early = ", stops early" if generation.early_stopping else ""
    return f"Searches with {generation.num_beams} beams, length penalty {generation.length_penalty:g}{early}."


def is_search_step(step: Step) -> bool:
    """Whether a step of a lineage only changed the search."""
    return step.technique in (TECHNIQUE.name, TUNE_BEAMS)


def recorded_search(steps: Iterable[Step]) -> DecodeOptions | None:
    """Returns the settings that some steps of a lineage set. None if no step is about the search."""
    found: dict[str, Any] = {}
    for step in steps:
        if is_search_step(step):
            found |= _settings_of(step).changes
    return DecodeOptions(**found) if found else None


def _settings_of(step: Step) -> DecodeOptions:
    """Returns the settings that a step of a lineage set. A `tune-beams` step has further parameters."""
    names = [field.name for field in fields(DecodeOptions)]
    return DecodeOptions(**{name: step.parameters.get(name) for name in names})


def _did_the_same(step: Step, settings: Mapping[str, Any]) -> bool:
    """Whether a recorded `tune-beams` step changed the search as these settings do."""
    return step.technique == TUNE_BEAMS and _settings_of(step) == DecodeOptions(**settings)


def _run(job: Job, options: DecodeOptions) -> Outcome:
    return decode(job.context, job.task, job.parent, job.name, options)


TECHNIQUE = Technique("decode", _run, [DecodeOptions], did_the_same=_did_the_same)
