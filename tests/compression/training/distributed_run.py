"""One process of a distributed run, as `torchrun` starts it: trains a tiny model on the given tokenizer's sentences."""

import sys
from dataclasses import replace
from pathlib import Path

from slimseq.compression.training.schedule import Bounds
from slimseq.compression.training.trainer import TrainingOptions, train
from tests.compression.tiny import tiny_context, tiny_model, tiny_set
from tests.families import Family

OPTIONS = TrainingOptions(
    bounds=Bounds(max_steps=8),
    learning_rate=3e-3,
    tokens_per_batch=100,
    precision="fp32",
    dropout=0.0,
    guided_alignment=0.2,
    copy_warmup_steps=2,
)


def run(tokenizer: Path, folder: Path, steps: int, accumulation: int, distributed: bool) -> None:
    """Trains for so many steps in all, going on from what the folder holds."""
    options = replace(
        OPTIONS, bounds=Bounds(max_steps=steps), accumulation=accumulation, distributed=distributed, decay_fraction=0.0
    )
    model, dataset = tiny_model(Family.T5, tokenizer), tiny_set(tokenizer)
    train(model, dataset, options, tiny_context(folder), checkpoint_folder=folder)
    sys.stdout.write("went on after training\n")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), accumulation=1, distributed=True)
