"""A tiny model that learned a little, and findings with which a run of `compress` on it is short and repeats itself."""

import json
import shutil
from pathlib import Path
from typing import Any

from slimseq.compression.compress.run_folder import FINDINGS
from slimseq.compression.compress.shape_candidates import TARGETS
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import invoked
from tests.compression.compress.pairs import written_pairs
from tests.compression.tiny import tiny_store
from tests.families import Family

TASK = Task.TRANSLATION
# Findings that are measured times, or that are decided from measured times. A run that has those of another run makes
# the same variants.
MEASURED = ("seconds_of_a_pair", "decoding", "costs", "losses", "first stage steps", "speeds")
STEPS_OF = "steps of "
# Steps of a first stage, and of a whole training.
FIRST_STEPS, STEPS = 40, 60
# Time with which trainings are allowed. The steps above are found already, so that a run is much shorter.
WITHIN = "10m"
# Costs of a model with two layers in each stack that takes nearly all its time in its layers. A tiny model takes its
# time elsewhere, so that no shape of it would be fast.
HEADS = {"1": [-3e-4, -4000.0], "2": [-2e-4, -2500.0], "4": [0.0, 0.0]}
WIDTHS = {"8": [-4e-4, -4000.0], "32": [-2e-4, -2300.0], "64": [0.0, 0.0]}
DECODER = {"heads": HEADS, "cross_heads": HEADS, "feed_forward": WIDTHS}
COSTS = {
    "base": [2e-5, 41_000.0],
    "stacks": {
        "encoder": {"whole": [1e-3, 24_000.0], "parts": {"heads": HEADS, "feed_forward": WIDTHS}},
        "decoder": {"whole": [1.5e-3, 34_000.0], "parts": DECODER},
    },
    "vocabulary": None,
    "estimated": [],
}


def learned_store(folder: Path) -> Path:
    """Makes a store with `translation/learned`: a random model writes nothing, so that nothing could be kept."""
    context = tiny_store(folder, Family.BART)
    data = written_pairs(folder / "train.jsonl", 400, seed=9)
    settings = ("--max-steps", "150", "--learning-rate", "0.01", "--warmup-steps", "10", "--tokens-per-batch", "1000")
    own = ("--from", "original", "--name", "learned", "--store", context.store.root)
    trained = invoked("train", "translation", "--data", data, *own, *settings)
    assert trained.code == 0, trained.error
    context.store.remove(TASK, "original")
    return context.store.root


def short_training(variant: str) -> dict[str, Any]:
    """Returns findings with which a run with training takes seconds."""
    names = [f"{variant}-x{target:g}{kind}" for target in TARGETS for kind in ("", "-uniform")]
    steps = {f"{STEPS_OF}{name}": STEPS for name in names}
    return {"costs": COSTS, "first stage steps": FIRST_STEPS, **steps}


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
