"""`python -m benchmarks.ablation`: what each choice is worth, one option at a time under one budget.

A recipe whose variants are named `CHOICE.OPTION` is built into a store of its own and measured on its dev files. The
figures go into `ablation.json` of the build folder, which `slimseq report --build` shows.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.sections import ablation_section
from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.build.build import BuildOptions, build
from slimseq.compression.build.recipe import BASE, Recipe, read_recipe
from slimseq.compression.context import Context
from slimseq.compression.report.ablation import ABLATION, Ablation, AblationRow
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.files import write_text
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

RECIPE = Path(__file__).parent / "ablation-translation.yaml"


def ablation(context: Context, recipe: Recipe, data_folder: Path, folder: Path) -> list[Ablation]:
    """Builds and measures every option; what is there from an earlier run is kept.

    Args:
        context: the store that holds the original.
        recipe: variants named `CHOICE.OPTION`, and dev files as its test sets.
        data_folder: what the recipe's paths are relative to.
        folder: where everything goes.

    Returns:
        One ablation a data set.

    Raises:
        SlimseqError: a variant cannot be built or measured.
    """
    own = replace(context, store=Store(folder / "variants"), may_replace=True)
    if BASE not in own.store.variants(recipe.task):
        copy_artifact(context.store, own.store, context.store.manifest(recipe.task, BASE))
    build(own, recipe, BuildOptions(data_folder=data_folder, folder=folder))
    metric = PRIMARY_METRIC[recipe.task]
    found: dict[tuple[str, str, int], list[AblationRow]] = {}
    for name, variant in recipe.variants.items():
        group, _, option = name.partition(".")
        manifest = own.store.manifest(recipe.task, name)
        seconds = sum(step.seconds for step in manifest.lineage[-len(variant.steps) :])
        for score in manifest.quality:
            if score.metric == metric:
                measured = score.model_dump(include={"value", "interval", "retention", "retention_interval"})
                row = AblationRow(group=group, name=option, seconds=seconds, **measured)
                found.setdefault((score.dataset, score.split, score.samples), []).append(row)
    return [
        Ablation(task=recipe.task, dataset=dataset, split=split, samples=samples, metric=metric, rows=rows)
        for (dataset, split, samples), rows in found.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE, help="variants named CHOICE.OPTION")
    parser.add_argument("--data-folder", type=Path, required=True, help="what paths in the recipe are relative to")
    parser.add_argument("--build-folder", type=Path, default=None, help=".slimseq/NAME by default")
    parser.add_argument("--store", type=Path, default=embedded_store(), help="holds the original")
    given = parser.parse_args(arguments)
    recipe = read_recipe(given.recipe)
    folder = given.build_folder or Path(".slimseq") / recipe.name
    found = ablation(Context(Store(given.store), recipe.seed), recipe, given.data_folder, folder)
    write_text(folder / ABLATION, json.dumps([each.model_dump(mode="json") for each in found], indent=2) + "\n")
    for each in found:
        sys.stdout.write("\n".join(ablation_section(each)) + "\n")


if __name__ == "__main__":
    main()
