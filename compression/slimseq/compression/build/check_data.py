"""Checks the data of a recipe before a build starts: every file is there, and what measures is held out.

Dev data must not be in the training data of the steps that use it. Test data must be neither in the training data of
any step nor in dev data. Hub data sets are left out: their publishers split them, and to read them takes long.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from slimseq.compression.build.recipe import Data, RecipeStep, data_of, mixture_of, steps_of
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.held_out import Hashes, check_held_out, check_tested_apart, hashes_of
from slimseq.compression.technique import technique_named
from slimseq.compression.train.data.training_data import read_unlabelled
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.datasets import HUB_DATASETS, load_examples, open_examples

FILE_ENDINGS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz")


def check_data(context: Context, workspace: BuildWorkspace) -> None:
    """Checks all data of a recipe.

    Raises:
        BadRecipe: a file is missing.
        BadData: held-out data is in the training data, or test data is dev data.
        DatasetUnavailable: a file cannot be read.
    """
    recipe = workspace.recipe
    steps = steps_of(recipe)
    every = [recipe.data, *(data_of(recipe, step) for step in steps)]
    for data in every:
        _check_files_exist(workspace, data)
    with context.working("Checking that dev and test data is held out"):
        check = _DataCheck(context, workspace)
        for step in steps:
            check.step(step)
        for data in every:
            check.tests_against_dev(data)


def _check_files_exist(workspace: BuildWorkspace, data: Data) -> None:
    given = (data.train, data.unlabelled, data.calibration, data.dev, data.exclude, [test.data for test in data.test])
    names: Sequence[str] = [name for names in given for name in names]
    for name in names:
        if name.endswith(FILE_ENDINGS) and not Path(workspace.path(name)).exists():
            raise BadRecipe(f"data: there is no file {workspace.data_folder / name}")


class _DataCheck:
    """The checks of one recipe. Each file is read once, and nothing is checked, or warned of, twice."""

    def __init__(self, context: Context, workspace: BuildWorkspace) -> None:
        self._context = context
        self._workspace = workspace
        self._read: dict[tuple[str, int | None], list[str]] = {}
        self._trained: dict[str, Hashes] = {}
        self._done: set[tuple[str, str]] = set()

    def step(self, step: RecipeStep) -> None:
        """Checks the dev data of a step, and the test data where it trains, against the training data."""
        data, technique = data_of(self._workspace.recipe, step), technique_named(step.technique)
        held_out = self._dev(data) if technique.uses_dev else []
        if technique.needs_data:
            held_out += self._tests()
        unused_origins = sorted(origin for origin, weight in mixture_of(data.mixture).weights.items() if weight == 0)
        learned = repr((data.train, data.unlabelled, data.exclude, unused_origins))
        for name, sources in held_out:
            if (name, learned) in self._done:
                continue
            self._done.add((name, learned))
            if learned not in self._trained:
                self._trained[learned] = self._training(data, unused_origins)
            check_held_out(self._context, name, sources, self._trained[learned])

    def tests_against_dev(self, data: Data) -> None:
        """Checks the recipe's test data against dev data."""
        for dev, chosen_on in self._dev(data):
            for test, sources in self._tests():
                if (test, dev) not in self._done:
                    self._done.add((test, dev))
                    check_tested_apart(test, sources, dev, hashes_of(chosen_on))

    def _dev(self, data: Data) -> list[tuple[str, list[str]]]:
        """Returns names and sources of dev files."""
        return [(name, self._sources(name)) for name in data.dev if name not in HUB_DATASETS]

    def _tests(self) -> list[tuple[str, list[str]]]:
        """Returns names and sources of the recipe's test data, as far as it is measured on."""
        tests = self._workspace.recipe.data.test
        return [(test.data, self._sources(test.data, test.samples)) for test in tests if test.data not in HUB_DATASETS]

    def _sources(self, name: str, samples: int | None = None) -> list[str]:
        """Reads the sources of held-out data."""
        if (name, samples) not in self._read:
            examples = load_examples(self._workspace.recipe.task, self._workspace.path(name), samples=samples).examples
            self._read[name, samples] = [example.source for example in examples]
        return self._read[name, samples]

    def _training(self, data: Data, unused_origins: Sequence[str]) -> Hashes:
        """Returns the hashes of the sources that a step learns from."""
        known = hashes_of(
            example.source for example in self._training_examples(data) if example.origin not in unused_origins
        )
        excluded = hashes_of(source for name in data.exclude for source in self._sources(name))
        # Hashes are sorted, and so is their difference.
        return np.setdiff1d(known, excluded, assume_unique=True)

    def _training_examples(self, data: Data) -> Iterator[Example]:
        """Yields training examples one by one: they may be more than memory holds."""
        task = self._workspace.recipe.task
        for name in data.train:
            if name not in HUB_DATASETS:
                yield from open_examples(task, self._workspace.path(name), "train")[2]
        for name in data.unlabelled:
            yield from read_unlabelled(task, [self._workspace.path(name)])
