"""Checks of a run before any work: that its variants can be published, and that its test data can be measured on.

A build makes the same checks at its end, when all the time has been spent.
"""

from collections.abc import Sequence

from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.build.check_data import check_data
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.decoding.decoding_rows import rows_to_try
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.start.final_test_data import read_test_data
from slimseq.compression.held_out import check_not_trained_on


def check_tests(run: Run) -> None:
    """Checks the test data as the build does at the end, when all work is done.

    Raises:
        BadRecipe, DatasetUnavailable: it cannot be read.
        BadData: it has too few pairs, or its texts are in the training or dev data.
    """
    if not run.options.test:
        return
    read_test_data(run.original.task, run.options.test)
    for name in run.options.test:
        check_not_trained_on(run.context, {run.original.variant: run.original}, name)
    # Test data is held against what a step with training learns from.
    training = Candidate(run.name("test"), "", ({"prune": {"max_steps": 1}},))
    check_data(run.context, _workspace_of(run, training))


def check_names(run: Run, quantized: Sequence[Candidate], shapes: Sequence[str]) -> None:
    """Checks that the store has no variant of a name that a new run may publish, except for one that it would make.

    Args:
        run: the run.
        quantized: the candidates that need neither search nor training.
        shapes: names of the candidates that are searched and trained.

    Raises:
        BadParameters: a name is no valid one, or it is taken and `--force` is not given.
    """
    rows = [row for row in rows_to_try(run.original.generation) if row.settings]
    whole = (*(each.name for each in quantized), *shapes)
    searches = [f"{name}-{row.name}" for name in whole for row in rows]
    for name in (*searches, *shapes):
        check_name(run.context, run.original.task, name)
    for candidate in quantized:
        if not _is_published(run, candidate):
            check_name(run.context, run.original.task, candidate.name)


def check_store_takes_variants(run: Run) -> None:
    """Checks that a variant could be written to the user's store now, and not only when all work is done.

    Raises:
        CannotWrite: the disk of the store is full or read-only.
        ArtifactInUse: another command writes a variant of that name.
    """
    with run.context.store.claim(run.original.task, run.name("quantized")):
        pass


def _is_published(run: Run, candidate: Candidate) -> bool:
    """Whether the store has a variant of this name that was made by the same steps."""
    task, store = run.original.task, run.context.store
    if candidate.name not in store.variants(task):
        return False
    lineage = store.manifest(task, candidate.name).lineage
    steps = candidate.recipe_variant.steps
    return _workspace_of(run, candidate).are_current(lineage, steps, run.original.digest)


def _workspace_of(run: Run, candidate: Candidate) -> BuildWorkspace:
    return BuildWorkspace(run.recipe([candidate]), run.own_context, run.folder.path, run.build_folder)
