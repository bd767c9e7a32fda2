"""The state of one run of `compress`: what it compresses, on what data, in which time, and how it makes candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.build.build import STEPS
from slimseq.compression.build.recipe import Recipe, RecipeStep
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.compress.candidate import Candidate, served_bytes
from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.measuring import Judge, dev_outputs
from slimseq.compression.compress.recipe_paths import path_in_recipe
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.start.changed_options import MADE, names_made
from slimseq.compression.compress.start.run_data import RunData
from slimseq.compression.compress.time_plan import TimePlan
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.evaluation.bootstrap import Interval, retention
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.metrics import MetricStatistics
from slimseq.inference.models.configuration import read_config
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from slimseq.compression.train.data.training_data import Material

# Folder of the build, below the run's folder, which is the folder of its data.
BUILD = "build"
# The file of the choosing half of the dev pairs, on which trainings measure their loss too.
CHOOSING = "choosing.jsonl"


@dataclass(frozen=True)
class Run:
    """One run, after its data was read and the original was verified."""

    context: Context
    """Context of the user's store."""
    options: CompressOptions
    original: Manifest
    data: RunData
    choosing_half: tuple[int, ...]
    """Places of the dev pairs that choose. Trainings measure their loss on them. The others confirm."""
    judge: Judge
    folder: RunFolder
    plan: TimePlan
    pair_seconds: float
    """Time that the original takes for one dev pair."""
    prefix: str
    """Beginning of the candidates' names; may be empty."""
    _scored: dict[str, MetricStatistics] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Scores on all dev pairs by a variant's digest and search: a command that scores may take minutes."""
    material: "dict[str, Material]" = field(default_factory=dict, init=False, repr=False, compare=False)
    """The data of trainings, which is read once for all of them."""

    @property
    def choosing(self) -> tuple[Example, ...]:
        return tuple(self.data.dev[place] for place in self.choosing_half)

    @property
    def confirming_half(self) -> tuple[int, ...]:
        """Places of the dev pairs that confirm the choice: all that do not choose."""
        choosing = set(self.choosing_half)
        return tuple(place for place in range(len(self.data.dev)) if place not in choosing)

    @property
    def width(self) -> int:
        """The width of the original's residual stream."""
        folder = self.context.store.folder(self.original.task, self.original.variant)
        return int(read_config(folder)["d_model"])

    @property
    def store(self) -> Store:
        """The run's own store, of the original and all candidates."""
        return Store(self.build_folder / STEPS)

    @property
    def build_folder(self) -> Path:
        """The folder of the build that makes the candidates: finished steps and checkpoints."""
        return self.folder.path / BUILD

    @property
    def own_context(self) -> Context:
        return replace(self.context, store=self.store, may_replace=True)

    def name(self, ending: str) -> str:
        """Returns the name of a variant."""
        return f"{self.prefix}-{ending}" if self.prefix else ending

    def prepare_store(self) -> None:
        """Copies the original into the run's own store, unless it is there."""
        known = {each.variant: each.digest for each in self.store.manifests(self.original.task)}
        if known.get(self.original.variant) != self.original.digest:
            copy_artifact(self.context.store, self.store, self.original)

    def statistics(self, manifest: Manifest, places: Sequence[int] | None = None) -> MetricStatistics:
        """Returns the scores of a variant's outputs for dev pairs: for those at some places, or for all."""
        key = f"{manifest.digest} {manifest.generation.model_dump_json()}"
        scored = self._scored.get(key)
        if scored is None:
            outputs = dev_outputs(self.own_context, self.folder, self.store, manifest, self.data.dev)
            scored = self._scored[key] = self.judge.statistics(self.data.dev, outputs)
        if places is None:
            return scored
        return replace(scored, per_sample=scored.per_sample[list(places)])

    def kept_on_choosing_half(self, variant: str) -> tuple[float, Interval]:
        """Returns a candidate's retention on the choosing half, with its 95 % interval.

        Raises:
            BadParameters: the original scores nothing there, so that there is no retention.
        """
        manifest = self.store.manifest(self.original.task, variant)
        reference, found = (self.statistics(each, self.choosing_half) for each in (self.original, manifest))
        kept = retention(found, reference)
        if kept is None:
            raise BadParameters(
                f"the original scores 0 by {self.judge.name} on the dev pairs: check that they are of its task and "
                "languages"
            )
        return kept

    def measure_and_announce(self, candidate: Candidate) -> tuple[float, Interval]:
        """Says what a candidate keeps on the choosing half, and returns this share with its 95 % interval."""
        kept, (low, high) = self.kept_on_choosing_half(candidate.name)
        size = served_bytes(self.store.manifest(self.original.task, candidate.name))
        self.context.say(
            f"{candidate.name}: {candidate.title}, {size / 1e6:.1f} MB, keeps {kept:.1%} [{low:.1%}, {high:.1%}] of "
            f"the original's {self.judge.name} on the choosing half"
        )
        return kept, (low, high)

    def recipe(self, candidates: Sequence[Candidate], gates: Mapping[str, Any] | None = None) -> Recipe:
        """Returns the recipe that makes candidates from the original."""
        return Recipe.model_validate(self.recipe_record(candidates, gates))

    def recipe_record(self, candidates: Sequence[Candidate], gates: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns a recipe as YAML has it. `gates` has the gate of a variant by its name."""
        variants: dict[str, Any] = {}
        for candidate in candidates:
            variants[candidate.name] = {"steps": [dict(step) for step in candidate.steps]}
            gate = (gates or {}).get(candidate.name)
            if gate is not None:
                variants[candidate.name]["gate"] = gate
        return {
            "name": f"compress-{self.prefix or self.original.variant}",
            "task": self.original.task.value,
            "seed": self.context.seed,
            "base": {"keep": True, "variant": self.original.variant, "digest": self.original.digest},
            "data": {
                "train": [self._named(name) for name in self.data.train],
                "calibration": [self.data.calibration.name],
                "dev": [CHOOSING],
                "exclude": [self._named(name) for name in self.data.exclude],
                "test": [self._named(name) for name in self.options.test],
            },
            "variants": variants,
        }

    def _named(self, name: str) -> str:
        return path_in_recipe(name, self.folder.path)

    def recipe_of_step(self, step: RecipeStep) -> Recipe:
        """Returns the recipe of one step, for the data and the seed of the step."""
        return self.recipe([Candidate("step", "", ({step.technique: {**step.options, **step.data}},))])

    def make(self, candidate: Candidate) -> Manifest:
        """Makes a candidate in the run's own store, unless it is there already. A finding says that it was made."""
        recipe = self.recipe([candidate])
        context = self.own_context
        if candidate.name in self.store.variants(self.original.task):
            # The steps are finished. They are checked once more, and need not be said again.
            context = replace(context, console=Console(stderr=True, quiet=True))
        workspace = BuildWorkspace(recipe, context, self.folder.path, self.build_folder)
        manifest = workspace.run(candidate.name, self.original.variant, recipe.variants[candidate.name].steps)
        self.folder.find_or_make(f"{MADE}{candidate.name}", candidate.record)
        return manifest

    def made_earlier(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Returns the candidates that earlier commands made in the folder and that are not among some others."""
        names = {candidate.name for candidate in candidates}
        earlier = sorted(names_made(self.folder) - names)
        return [Candidate.from_record(self.folder.get(f"{MADE}{name}")) for name in earlier]
