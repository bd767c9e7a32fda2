"""Runs the steps of a variant in the build's own store, and skips finished ones.

Each finished step is an artifact there, `NAME.1`, `NAME.2`, …, with its key in the lineage; the last one has the
variant's name. An interrupted build resumes at its step, and within a training at the last checkpoint. Variants with
the same first steps share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimseq.compression.artifacts.copies import rename
from slimseq.compression.build.recipe import Recipe, RecipeStep, data_of, mixture_of, seed_of
from slimseq.compression.context import Context
from slimseq.compression.technique import Job, step_key, technique_named
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Step
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class BuildWorkspace:
    """The recipe of a build and its folders. The context's store is the build's own one.

    `data_folder` is the base of relative paths in the recipe, and `folder` has a checkpoint of each step and the
    teachers' outputs of all steps.
    """

    recipe: Recipe
    context: Context
    data_folder: Path
    folder: Path

    @property
    def store(self) -> Store:
        return self.context.store

    def path(self, name: str) -> str:
        """Returns the path of a data name of the recipe: a file in the data folder, else the name itself."""
        parts = [self.data_folder / part for part in name.split(":")]
        return ":".join(map(str, parts)) if all(part.exists() for part in parts) else name

    def files(self, step: RecipeStep) -> DataFiles:
        data = data_of(self.recipe, step)
        train, calibration, dev, unlabelled, exclude = (
            [self.path(name) for name in names]
            for names in (data.train, data.calibration, data.dev, data.unlabelled, data.exclude)
        )
        return DataFiles(train, calibration, dev, mixture_of(data.mixture), unlabelled, exclude)

    def key(self, step: RecipeStep, parent: str | None) -> str:
        """Returns the key of a step. `parent` is the digest of the artifact that it starts from."""
        technique = technique_named(step.technique)
        return step_key(
            technique, technique.settings(step.options), seed_of(self.recipe, step), parent, self.files(step)
        )

    def are_current(self, lineage: Sequence[Step], steps: Sequence[RecipeStep], parent: str | None) -> bool:
        """Whether the last steps of a lineage have these keys: the same parent, options and data."""
        recorded = lineage[-len(steps) :]
        if len(recorded) != len(steps) or not recorded or recorded[0].parent != parent:
            return False
        return all(self._is_current(done, step) for done, step in zip(recorded, steps, strict=True))

    def _is_current(self, done: Step, step: RecipeStep) -> bool:
        """Whether a recorded step has the key of a recipe's step, or is of a technique that this one replaced."""
        technique = technique_named(step.technique)
        # A build made it, and not a command.
        is_built = done.key is not None
        return done.key == self.key(step, done.parent) or (
            is_built and technique.did_the_same(done, technique.settings(step.options))
        )

    def run(self, name: str, start: str, steps: Sequence[RecipeStep]) -> Manifest:
        """Runs the steps that are not finished."""
        parent = self.store.manifest(self.recipe.task, start).digest if start else None
        for index, step in enumerate(steps, start=1):
            is_last = index == len(steps)
            target = name if is_last else f"{name}.{index}"
            key = self.key(step, parent)
            title = f"{name}: {step.technique} ({index} of {len(steps)})"
            done = self._done(target, key) if is_last else self._done_for_any(target, key)
            if done and not is_last and done.variant == name:
                done = self._renamed(name, target)
            self.context.say(f"{title} is done" if done else f"{title} from {start or 'nothing'}")
            manifest = done or self._run_step(step, start, target, key)
            start, parent = manifest.variant, manifest.digest
        return self.store.manifest(self.recipe.task, name)

    def checkpoint_folder(self, key: str) -> Path:
        """Returns the folder of the checkpoints of the step with a key."""
        return self.folder / "checkpoints" / key.removeprefix("sha256:")[:16]

    def _renamed(self, name: str, target: str) -> Manifest:
        """Renames a finished variant to one of its steps: the recipe has got further steps since it was built."""
        task = self.recipe.task
        if target in self.store.variants(task):
            self.store.remove(task, target)
        rename(self.context, task, name, target)
        return self.store.manifest(task, target)

    def _run_step(self, step: RecipeStep, start: str, target: str, key: str) -> Manifest:
        technique = technique_named(step.technique)
        job = Job(
            context=replace(self.context, seed=seed_of(self.recipe, step), key=key),
            task=self.recipe.task,
            parent=start,
            name=target,
            files=self.files(step),
            checkpoint=self.checkpoint_folder(key),
            outputs=self.folder,
        )
        outcome = technique.apply(job, technique.read(step.options))
        for line in outcome.lines():
            self.context.say(f"  {line}")
        return outcome.manifest

    def _done_for_any(self, target: str, key: str) -> Manifest | None:
        """Returns the artifact of a finished step, of this or another variant with the same first steps."""
        for name in (target, *self.store.variants(self.recipe.task)):
            done = self._done(name, key)
            if done is not None:
                return done
        return None

    def _done(self, target: str, key: str) -> Manifest | None:
        """Returns an artifact if its last step has this key and its files are whole, else None."""
        try:
            manifest = self.store.manifest(self.recipe.task, target)
            if manifest.lineage[-1].key != key:
                return None
            self.store.verify(self.recipe.task, target)
        except SlimseqError:
            return None
        return manifest
