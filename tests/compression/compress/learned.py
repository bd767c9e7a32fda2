"""A tiny model that learned a little, and findings with which a run of `compress` on it is short and repeats itself."""

import json
import shutil
from pathlib import Path
from typing import Any

from slimseq.compression.compress.run_folder import FINDINGS
from slimseq.compression.compress.shape_finder import Shape
from slimseq.compression.compress.structures.costs import (
    Cost,
    CostTable,
    LayerCosts,
    SizeCosts,
    kinds_of,
    largest_layers,
)
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import invoked
from tests.compression.compress.pairs import written_pairs
from tests.compression.tiny import tiny_store
from tests.families import Family

TASK = Task.TRANSLATION
# Findings that are measured times, or that are decided from measured times. A run that has those of another run makes
# the same variants.
MEASURED = ("seconds_of_a_pair", "decoding", "costs", "losses", "shapes", "first stage steps", "speeds")
STEPS_OF = "steps of "
# Steps of a first stage, and of a whole training.
FIRST_STEPS, STEPS = 40, 60
# Time with which trainings are allowed. The steps above are found already, so that a run is much shorter.
WITHIN = "10m"
# Time of one layer, and the share of it that a small head group or feed-forward saves.
LAYER_SECONDS = {"encoder": 1e-3, "decoder": 1.5e-3}
PART_SHARE = 0.25
# Share of the layers' time that the rest takes, so that there are shapes of 1.5 and 2 times the speed.
REST_SHARE = 0.44
ENCODER = tuple(PlannedLayer(index, 4, None, 64) for index in range(2))
TINY = LayerPlan(ENCODER, tuple(PlannedLayer(index, 4, 4, 64) for index in range(2)))
# Plans of the tiny model, by the name that a run gives them.
PLANS = {
    "shape1": LayerPlan(ENCODER, (PlannedLayer(0, 4, 2, 64), PlannedLayer(1, 2, 4, 32))),
    "shape1-uniform": LayerPlan(ENCODER, tuple(PlannedLayer(index, 2, 2, 48) for index in range(2))),
    "shape2": LayerPlan(ENCODER, (PlannedLayer(1, 4, 3, 48),)),
    "shape2-uniform": LayerPlan(ENCODER[:1], (PlannedLayer(0, 4, 4, 64),)),
}


def learned_store(folder: Path) -> Path:
    """Makes a store with `translation/learned`: a random model writes nothing, so that nothing could be kept."""
    return taught_store(folder, written_pairs(folder / "train.jsonl", 400, seed=9))


def taught_store(folder: Path, data: str) -> Path:
    """Makes a store with `translation/learned`, a tiny model that learned from a file of pairs."""
    context = tiny_store(folder, Family.BART)
    settings = ("--max-steps", "150", "--learning-rate", "0.01", "--warmup-steps", "10", "--tokens-per-batch", "1000")
    own = ("--from", "original", "--name", "learned", "--store", context.store.root)
    trained = invoked("train", "translation", "--data", data, *own, *settings)
    assert trained.code == 0, trained.error
    context.store.remove(TASK, "original")
    return context.store.root


def costs_of(whole: LayerPlan) -> dict[str, Any]:
    """Returns costs of a model that takes most of its time in its layers, as a finding has them.

    A tiny model takes its time elsewhere, so that no shape of it would be faster.
    """
    stacks = {}
    for stack, largest in largest_layers(whole).items():
        seconds = LAYER_SECONDS[stack]
        parts: dict[str, SizeCosts] = {}
        for kind in kinds_of(largest):
            size = getattr(largest, kind)
            parts[kind] = SizeCosts({max(1, size // 4): Cost(-PART_SHARE * seconds, -3000.0), size: Cost()})
        stacks[stack] = LayerCosts(Cost(seconds, 30_000.0), parts)
    layers = CostTable(Cost(), stacks).predict(whole)
    return CostTable(Cost(REST_SHARE * layers.seconds, 40_000.0), stacks).record()


def short_training(variant: str) -> dict[str, Any]:
    """Returns findings with which a run of the tiny model with training takes seconds."""
    shapes = [
        Shape(
            f"{variant}-{name}",
            plan,
            float(name.removeprefix("shape").removesuffix("-uniform")),
            name.endswith("uniform"),
            1e-3,
            0.1,
        )
        for name, plan in PLANS.items()
    ]
    steps = {f"{STEPS_OF}{shape.name}": STEPS for shape in shapes}
    return {
        "costs": costs_of(TINY),
        "shapes": [shape.record() for shape in shapes],
        "first stage steps": FIRST_STEPS,
        **steps,
    }


def measured_findings(run: Path) -> dict[str, Any]:
    """Returns the findings of a finished run that depend on measured times."""
    found = findings(run)
    return {name: found[name] for name in found if name in MEASURED or name.startswith(STEPS_OF)}


def findings(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / FINDINGS).read_text(encoding="utf-8"))
    return found


def with_findings(run: Path, found: dict[str, Any]) -> Path:
    """Makes the folder of a run that has some findings already."""
    run.mkdir(parents=True)
    (run / FINDINGS).write_text(json.dumps(found), encoding="utf-8")
    return run


def copy_of_store(root: Path, folder: Path) -> Store:
    """Copies a store into a folder, where a test may change it."""
    return Store(Path(shutil.copytree(root, folder / "store")))
