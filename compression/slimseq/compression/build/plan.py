"""What a build would replace, found before it starts."""

import os
from collections.abc import Sequence

from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.errors import BadRecipe
from slimseq.compression.recipe import BASE, Recipe, RecipeStep
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Step


def whole_manifest(context: Context, recipe: Recipe, name: str) -> Manifest | None:
    """Returns the manifest of a variant that is in the store and whole."""
    try:
        context.store.verify(recipe.task, name)
        return context.store.manifest(recipe.task, name)
    except SlimseqError:
        return None


def is_base_made_so(workspace: BuildWorkspace, lineage: Sequence[Step], import_key: str | None) -> bool:
    """Whether a lineage is an import and trainings as the recipe's base says.

    Args:
        workspace: the recipe and its data.
        lineage: of an original, from its beginning.
        import_key: of the recipe's import, None where it imports nothing.
    """
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
    """Checks that nothing but what the recipe itself has made is where its variants will be.

    Args:
        context: the store to publish to.
        workspace: the recipe and its data.
        base: the original that is kept or up to date; None where it is to be made.
        import_key: of the recipe's import, None where it imports nothing.

    Raises:
        BadRecipe: something would be replaced; names all of it.
    """
    recipe = workspace.recipe
    names = [] if base is not None or not _is_taken(context, recipe, BASE) else [BASE]
    for name in recipe.variants:
        if _is_taken(context, recipe, name) and not _is_made_so(context, workspace, name, base, import_key):
            names.append(name)
    if names:
        taken = ", ".join(f"{recipe.task}/{name}" for name in names)
        raise BadRecipe(
            f"{recipe.name} would replace {taken} in {context.store.root}; give another --store, move what is there "
            "away with `rename`, or replace it with --force"
        )


def _is_taken(context: Context, recipe: Recipe, name: str) -> bool:
    return os.path.lexists(context.store.folder(recipe.task, name))


def _is_made_so(
    context: Context, workspace: BuildWorkspace, name: str, base: Manifest | None, import_key: str | None
) -> bool:
    """Whether a variant is what the recipe makes, all of its steps from the base on included."""
    manifest = whole_manifest(context, workspace.recipe, name)
    if manifest is None:
        return False
    steps = _steps_from_base(workspace.recipe, name)
    before, own = manifest.lineage[: -len(steps)], manifest.lineage[-len(steps) :]
    if len(own) != len(steps):
        return False
    if base is not None:
        return workspace.are_current(own, steps, base.digest)
    return is_base_made_so(workspace, before, import_key) and workspace.are_current(own, steps, own[0].parent)


def _steps_from_base(recipe: Recipe, name: str) -> list[RecipeStep]:
    variant = recipe.variants[name]
    return [*([] if variant.start == BASE else _steps_from_base(recipe, variant.start)), *variant.steps]
