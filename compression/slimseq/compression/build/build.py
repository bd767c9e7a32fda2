"""Builds a recipe: makes the base and all variants in order, measures them and applies their gates.

Steps run in a store of the build's own (`BuildWorkspace`), so that a build that was interrupted goes on from its
finished steps. Complete variants are copied into the user's store. A variant that is current is not made again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.artifacts.publish import check_name, manifest_of_the_same
from slimseq.compression.build.check_data import check_data
from slimseq.compression.build.measure_variants import Measurements, measure_variants, warn_of_useless_base
from slimseq.compression.build.recipe import Recipe, RecipeStep, check_family, import_options
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.importing.importing import import_model
from slimseq.compression.step_keys import folder_digest, key_of
from slimseq.compression.technique import technique_named
from slimseq.evaluation.gate import verdict_on
from slimseq.evaluation.recording import with_newest
from slimseq.inference.models.configuration import read_config
from slimseq.models_store.errors import ArtifactInUse, SlimseqError
from slimseq.models_store.files import writing_to
from slimseq.models_store.lineage import lineage_labels, root_of
from slimseq.models_store.locks import LOCK, try_lock
from slimseq.models_store.manifest import DEMONSTRATION, Manifest, Reference, Step, Verdict
from slimseq.models_store.store import Store

# Folder of the build's own store, below the build's folder.
STEPS = "steps"


@dataclass
class Built:
    """The result of a build.

    Attributes:
        built: the variants that the build made.
        current: the variants that were up to date already.
        measured: whether something was measured.
        verdicts: the verdict of the gate of each variant that has one.
    """

    built: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    measured: bool = False
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def rejected(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict.status == "rejected"]


def build(context: Context, recipe: Recipe, data_folder: Path, folder: Path, measure: bool = True) -> Built:
    """Builds missing and outdated variants and publishes them, a rejected one with its verdict.

    Args:
        context: the context with the user's store.
        recipe: a recipe that was checked.
        data_folder: folder that the recipe's relative paths start from.
        folder: folder of the build, for steps, checkpoints and measurements.
        measure: whether to measure the variants and apply their gates.

    Raises:
        BadRecipe: the build would replace an artifact that the recipe did not make, or the base cannot be made.
        ArtifactInUse: another build uses the folder, or another command writes one of the variants.
    """
    build_context = replace(context, store=Store(folder / STEPS), may_replace=True)
    workspace = BuildWorkspace(recipe, build_context, data_folder, folder)
    check_data(context, workspace)
    base = _base_in_store(context, workspace)
    if not context.may_replace:
        _check_nothing_is_replaced(context, workspace, base)
    with working_in(folder), ExitStack() as claims:
        context.say(f"Finished steps and checkpoints are in {folder}")
        names_to_make = list(recipe.variants)
        if base is None:
            names_to_make.append(recipe.base.variant)
        for name in names_to_make:
            claims.enter_context(context.store.claim(recipe.task, name))
        return _build(context, workspace, base, measure)


def _build(context: Context, workspace: BuildWorkspace, base: Manifest | None, measure: bool) -> Built:
    """Makes the base if there is none, then each variant that is not current, and measures all."""
    recipe = workspace.recipe
    result = Built()
    base_name = recipe.base.variant
    if base is None:
        result.built.append(base_name)
        base = _make_base(context, workspace)
    else:
        result.current.append(base_name)
        _copy_to_build_store(context.store, workspace.store, base)
    root = root_of(base, context.store.manifests(recipe.task))
    if root is None:
        raise BadRecipe(f"base: the reference of {recipe.task}/{base_name}, its own base model, is not in the store")
    digests = {base_name: base.digest}
    is_warning_due = measure
    for name in recipe.order():
        start = recipe.start_of(name)
        steps = recipe.variants[name].steps
        published = _verified_manifest(context, recipe, name)
        if published is not None and workspace.are_current(published.lineage, steps, digests[start]):
            result.current.append(name)
            _copy_to_build_store(context.store, workspace.store, published)
        else:
            # The warning comes before the first variant, since the making of a variant takes long.
            if is_warning_due:
                warn_of_useless_base(workspace, context, root.variant)
                is_warning_due = False
            manifest = workspace.run(name, start, steps)
            _publish(context, workspace, manifest, root)
            result.built.append(name)
        digests[name] = context.store.manifest(recipe.task, name).digest
    if measure:
        found = measure_variants(workspace, context, {root.variant: root.digest} | digests)
        result.measured = found.is_new
        _finish(context, recipe, found, result, root.variant)
    return result


def _base_in_store(context: Context, workspace: BuildWorkspace) -> Manifest | None:
    """Returns the base model if it is kept or current; None if it must be made."""
    recipe = workspace.recipe
    name = recipe.base.variant
    published = _verified_manifest(context, recipe, name)
    if published is not None and recipe.base.digest not in (None, published.digest):
        raise BadRecipe(f"base: {recipe.task}/{name} is another model ({published.digest}) than the recipe's")
    if published is not None and (recipe.base.keep or _is_base_current(workspace, published.lineage)):
        _check_family(recipe, context.store.folder(recipe.task, name))
        return published
    if recipe.base.import_ is None and not recipe.base.steps:
        raise BadRecipe(
            f"base: the store has no {recipe.task}/{name} to keep, and the recipe does not say how to make one"
        )
    return None


def _make_base(context: Context, workspace: BuildWorkspace) -> Manifest:
    """Imports and trains the base model in the build's own store, and publishes it."""
    recipe = workspace.recipe
    name = recipe.base.variant
    start = ""
    if recipe.base.import_ is not None:
        start = name if not recipe.base.steps else f"{name}.0"
        source = workspace.path(recipe.base.import_)
        workspace.context.say(f"{name}: import {recipe.base.import_}")
        manifest = import_model(
            replace(workspace.context, key=_import_key(workspace)),
            source,
            replace(import_options(recipe), variant=start),
            check=lambda folder: _check_family(recipe, folder),
        )
    else:
        first = recipe.base.steps[0]
        settings = technique_named(first.technique).settings(first.options)
        check_family(recipe, str(settings.get("family", recipe.family or "")))
    if recipe.base.steps:
        _copy_beginnings(context, workspace)
        manifest = workspace.run(name, start, recipe.base.steps)
    _publish(context, workspace, manifest, manifest)
    return context.store.manifest(recipe.task, name)


def _copy_beginnings(context: Context, workspace: BuildWorkspace) -> None:
    """Copies the variants whose weights a new base begins with (`begin_with`) into the build's own store."""
    task = workspace.recipe.task
    variants = context.store.variants(task)
    for step in workspace.recipe.base.steps:
        student = step.options.get("begin_with")
        if student in variants:
            _copy_to_build_store(context.store, workspace.store, context.store.verify(task, student))


def _import_key(workspace: BuildWorkspace) -> str | None:
    """Returns a hash of what the recipe imports, with its options; None if it imports nothing."""
    base = workspace.recipe.base
    if base.import_ is None:
        return None
    source = workspace.path(base.import_)
    content = folder_digest(Path(source)) if Path(source).is_dir() else source
    return key_of("import", content, base.options)


def _check_family(recipe: Recipe, folder: Path) -> None:
    """Checks that the recipe supports the family of its base, given the base's folder."""
    check_family(recipe, str(read_config(folder).get("model_type", "")))


def _publish(context: Context, workspace: BuildWorkspace, manifest: Manifest, root: Manifest) -> None:
    """Copies an artifact into the user's store, with earlier measurements of the same files.

    The artifact's reference, with which measurements compare it, becomes `root`, the root of the recipe's base.
    """
    check_name(context, manifest.task, manifest.variant)
    before = manifest_of_the_same(context.store, manifest, manifest.digest)
    kept = {} if before is None else before.measured | {"gate": before.gate}
    reference = Reference(variant=root.variant, digest=root.digest)
    manifest = manifest.model_copy(update={"reference": reference, **kept})
    published = manifest.model_copy(update={"description": _description(manifest, root)})
    copy_artifact(workspace.store, context.store, published)


def _description(manifest: Manifest, root: Manifest) -> str:
    """Describes what all steps of a variant did.

    The description of the last step would name intermediate variants, which only the build's own store has.
    """
    _, *steps = lineage_labels(manifest, [root])
    if len(steps) < 2:
        return manifest.description
    # Equal steps in a row are named once, such as "train (3 times)".
    runs = [(name, len(list(run))) for name, run in groupby(steps)]
    names = ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in runs)
    share = manifest.size.parameters / root.size.parameters
    prefix = f"{DEMONSTRATION}. " if root.is_demonstration else ""
    return f"{prefix}Made from {root.variant}: {names}. It has {share:.0%} of its parameters."


def _verified_manifest(context: Context, recipe: Recipe, name: str) -> Manifest | None:
    """Returns the manifest of a variant; None if it is missing or fails verification."""
    try:
        return context.store.verify(recipe.task, name)
    except SlimseqError:
        return None


def _is_base_current(workspace: BuildWorkspace, lineage: Sequence[Step]) -> bool:
    """Whether a lineage is what the recipe's base describes: an import, trainings, or both."""
    steps = workspace.recipe.base.steps
    import_key = _import_key(workspace)
    imports = 0 if import_key is None else 1
    if len(lineage) != imports + len(steps):
        return False
    if imports and lineage[0].key != import_key:
        return False
    trainings = lineage[imports:]
    return not steps or workspace.are_current(trainings, steps, trainings[0].parent)


def _check_nothing_is_replaced(context: Context, workspace: BuildWorkspace, base: Manifest | None) -> None:
    """Checks that the recipe would replace only artifacts that it made itself."""
    recipe = workspace.recipe
    base_name = recipe.base.variant
    names_to_make = [*recipe.variants] if base is not None else [base_name, *recipe.variants]
    existing = [name for name in names_to_make if os.path.lexists(context.store.folder(recipe.task, name))]
    foreign = [name for name in existing if name == base_name or not _is_own(context, workspace, name, base)]
    if foreign:
        listed = ", ".join(f"{recipe.task}/{name}" for name in foreign)
        raise BadRecipe(
            f"{recipe.name} would replace {listed} in {context.store.root}; give another --store, move them "
            "away with `rename`, or replace them with --force"
        )


def _is_own(context: Context, workspace: BuildWorkspace, name: str, base: Manifest | None) -> bool:
    """Whether the recipe made a variant, with all steps from the base on."""
    manifest = _verified_manifest(context, workspace.recipe, name)
    if manifest is None:
        return False
    steps = _steps_from_base(workspace.recipe, name)
    if base is not None:
        return workspace.are_current(manifest.lineage, steps, base.digest)
    # The lineage of a variant begins with the lineage of its base.
    base_lineage = manifest.lineage[: -len(steps)]
    own_lineage = manifest.lineage[-len(steps) :]
    is_base_current = _is_base_current(workspace, base_lineage)
    return is_base_current and workspace.are_current(own_lineage, steps, own_lineage[0].parent)


def _steps_from_base(recipe: Recipe, name: str) -> list[RecipeStep]:
    """Returns the steps of a variant and of all variants between it and the base."""
    steps = recipe.variants[name].steps
    start = recipe.start_of(name)
    if start == recipe.base.variant:
        return list(steps)
    return [*_steps_from_base(recipe, start), *steps]


def _copy_to_build_store(source: Store, target: Store, manifest: Manifest) -> None:
    """Copies an artifact into the build's own store, so that steps can start from it, unless it is there already."""
    with suppress(SlimseqError):
        if target.verify(manifest.task, manifest.variant).digest == manifest.digest:
            return
    copy_artifact(source, target, manifest)


def _finish(context: Context, recipe: Recipe, found: Measurements, result: Built, root: str) -> None:
    """Writes the measurements and the gates' verdicts into the manifests. Each manifest is written once."""
    stored = {name: context.store.manifest(recipe.task, name) for name in {root, recipe.base.variant, *recipe.variants}}
    measured = {name: found.added_to(manifest) for name, manifest in stored.items()}
    for name, variant in recipe.variants.items():
        if variant.gate is not None:
            result.verdicts[name] = verdict_on(measured[name], measured[root], variant.gate)
            measured[name] = measured[name].model_copy(update={"gate": result.verdicts[name]})
    for name, manifest in measured.items():
        if manifest != stored[name]:
            context.store.update_manifest(manifest, partial(_add_findings, manifest))
            write_card(context.store.folder(recipe.task, name), context.store.manifest(recipe.task, name))


def _add_findings(finished: Manifest, current: Manifest) -> Manifest:
    """Adds what this build found to the manifest on disk, to which other commands may have added meanwhile."""
    return with_newest(current, finished).model_copy(update={"gate": finished.gate})


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Locks a folder against other builds while the block runs."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = try_lock(folder / LOCK)
    if descriptor is None:
        raise ArtifactInUse(str(folder))
    try:
        yield
    finally:
        os.close(descriptor)
