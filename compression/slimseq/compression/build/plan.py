"""Checks before a build starts that it replaces no artifact of others."""

import os
from collections.abc import Sequence

from slimseq.compression.build.recipe import BASE, Recipe, RecipeStep
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Step


def whole_manifest(context: Context, recipe: Recipe, name: str) -> Manifest | None:
    """Returns the manifest of a variant; None if it is missing or fails verification."""
    try:
        context.store.verify(recipe.task, name)
        return context.store.manifest(recipe.task, name)
    except SlimseqError:
        return None


def is_base_current(workspace: BuildWorkspace, lineage: Sequence[Step], import_key: str | None) -> bool:
    """Whether a lineage is what the recipe's base describes: an import, trainings, or both."""
    steps = workspace.recipe.base.steps
    imports = 0 if import_key is None else 1
    if len(lineage) != imports + len(steps):
        return False
    if imports and lineage[0].key != import_key:
        return False
    return not steps or workspace.are_current(lineage[imports:], steps, lineage[imports].parent)


def check_nothing_is_replaced(
    context: Context, workspace: BuildWorkspace, base: Manifest | None, import_key: str | None
) -> None:
    """Checks that the recipe would replace only artifacts that it made itself.

    Raises:
        BadRecipe: other artifacts would be replaced; names all of them.
    """
    recipe = workspace.recipe
    names = [] if base is not None or not _exists(context, recipe, BASE) else [BASE]
    for name in recipe.variants:
        if _exists(context, recipe, name) and not _is_own(context, workspace, name, base, import_key):
            names.append(name)
    if names:
        listed = ", ".join(f"{recipe.task}/{name}" for name in names)
        raise BadRecipe(
            f"{recipe.name} would replace {listed} in {context.store.root}; give another --store, move them "
            "away with `rename`, or replace them with --force"
        )


def _exists(context: Context, recipe: Recipe, name: str) -> bool:
    return os.path.lexists(context.store.folder(recipe.task, name))


def _is_own(
    context: Context, workspace: BuildWorkspace, name: str, base: Manifest | None, import_key: str | None
) -> bool:
    """Whether the recipe made a variant, with all steps from the base on."""
    manifest = whole_manifest(context, workspace.recipe, name)
    if manifest is None:
        return False
    steps = _steps_from_base(workspace.recipe, name)
    before, own = manifest.lineage[: -len(steps)], manifest.lineage[-len(steps) :]
    if len(own) != len(steps):
        return False
    if base is not None:
        return workspace.are_current(own, steps, base.digest)
    return is_base_current(workspace, before, import_key) and workspace.are_current(own, steps, own[0].parent)


def _steps_from_base(recipe: Recipe, name: str) -> list[RecipeStep]:
    variant = recipe.variants[name]
    return [*([] if variant.start == BASE else _steps_from_base(recipe, variant.start)), *variant.steps]
