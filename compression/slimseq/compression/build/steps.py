"""Runs the steps of one variant in the build's own store, and knows which of them are done.

Every finished step is an artifact there, `NAME.1`, `NAME.2`, …, with its key in its lineage; the last one has the
variant's own name. So a build that was killed goes on at the step that it was in, and within that at its checkpoint.
Variants that begin with the same steps share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimseq.compression.build.keys import data_digest, key_of
from slimseq.compression.context import Context
from slimseq.compression.recipe import Recipe, RecipeStep, data_of, mixture_of, seed_of
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.training.data import DataFiles
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Step
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class BuildWorkspace:
    """Where and on what a build works.

    Args:
        recipe: what is built.
        context: device and progress; its store is the build's own one.
        data_folder: what relative paths in the recipe are relative to.
        checkpoints: each step's checkpoints go into a folder of its own in here.
        outputs: what teachers write goes here, where every step finds it.
    """

    recipe: Recipe
    context: Context
    data_folder: Path
    checkpoints: Path
    outputs: Path

    @property
    def store(self) -> Store:
        """The build's own store."""
        return self.context.store

    def path(self, name: str) -> str:
        """Returns a data name of the recipe as it can be opened: a file in the data folder, or the name itself."""
        parts = [self.data_folder / part for part in name.split(":")]
        return ":".join(map(str, parts)) if all(part.exists() for part in parts) else name

    def files(self, step: RecipeStep) -> DataFiles:
        """Returns the data files of a step."""
        data = data_of(self.recipe, step)
        train, calibration, dev, unlabelled = (
            [self.path(name) for name in names] for names in (data.train, data.calibration, data.dev, data.unlabelled)
        )
        return DataFiles(train, calibration, dev, mixture_of(data.mixture), unlabelled)

    def key(self, step: RecipeStep, parent: str | None) -> str:
        """Returns the key of a step that starts from an artifact of that digest."""
        technique = technique_named(step.technique)
        files = self.files(step)
        digests = [data_digest(names) for names in (files.train, files.calibration, files.dev)]
        # What is as ever says nothing, so that an option that is new makes nothing stale.
        data = [*digests, files.mixture.record(), *([data_digest(files.unlabelled)] if files.unlabelled else [])]
        return key_of(technique.key_name, technique.settings(step.options), seed_of(self.recipe, step), parent, data)

    def is_current(self, manifest: Manifest, steps: Sequence[RecipeStep], parent: str | None) -> bool:
        """Whether an artifact's last steps are these, from that parent, with these options and this data."""
        return self.are_current(manifest.lineage[len(manifest.lineage) - len(steps) :], steps, parent)

    def are_current(self, taken: Sequence[Step], steps: Sequence[RecipeStep], parent: str | None) -> bool:
        """Whether steps of a lineage are these, from that parent, with these options and this data."""
        if len(taken) != len(steps) or not taken or taken[0].parent != parent:
            return False
        return all(done.key == self.key(step, done.parent) for done, step in zip(taken, steps, strict=True))

    def run(self, name: str, start: str, steps: Sequence[RecipeStep]) -> Manifest:
        """Takes the steps that are not done yet.

        Args:
            name: the variant.
            start: the artifact in the build's store to start from; empty starts from nothing.
            steps: at least one.

        Raises:
            SlimseqError: a step failed; those before it stay done.
        """
        parent = self.store.manifest(self.recipe.task, start).digest if start else None
        for index, step in enumerate(steps, start=1):
            is_last = index == len(steps)
            target = name if is_last else f"{name}.{index}"
            key = self.key(step, parent)
            place = f"{name}: {step.technique} ({index} of {len(steps)})"
            done = self._done(target, key) if is_last else self._done_for_any(target, key)
            self.context.say(f"{place} is done" if done else f"{place} from {start or 'nothing'}")
            manifest = done or self._take(step, start, target, key)
            start, parent = manifest.variant, manifest.digest
        return self.store.manifest(self.recipe.task, name)

    def _take(self, step: RecipeStep, start: str, target: str, key: str) -> Manifest:
        technique = technique_named(step.technique)
        checkpoint = self.checkpoints / key.removeprefix("sha256:")[:16]
        job = Job(
            context=replace(
                self.context,
                seed=seed_of(self.recipe, step),
                may_replace=True,
            ),
            task=self.recipe.task,
            parent=start,
            name=target,
            files=self.files(step),
            checkpoint=checkpoint,
            outputs=self.outputs,
        )
        outcome = technique.apply(job, technique.read(step.options))
        manifest = outcome.manifest
        for line in outcome.lines():
            self.context.say(f"  {line}")
        return self.with_key(manifest, key)

    def with_key(self, manifest: Manifest, key: str) -> Manifest:
        """Writes a key into the last step of an artifact's lineage, in the build's store."""
        last = manifest.lineage[-1].model_copy(update={"key": key})
        keyed = manifest.model_copy(update={"lineage": [*manifest.lineage[:-1], last]})
        self.store.rewrite_manifest(keyed)
        return keyed

    def _done_for_any(self, target: str, key: str) -> Manifest | None:
        """Returns the step's artifact, or that of another variant which began with the same steps."""
        names = [target, *self.store.variants(self.recipe.task)]
        return next((done for name in names if (done := self._done(name, key))), None)

    def _done(self, target: str, key: str) -> Manifest | None:
        try:
            manifest = self.store.manifest(self.recipe.task, target)
            if manifest.lineage[-1].key != key:
                return None
            self.store.verify(self.recipe.task, target)
        except SlimseqError:
            return None
        return manifest
