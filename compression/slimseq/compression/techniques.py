"""Every technique: one line here makes it a verb of the command line and a step of recipes.

No library is imported here, so that `slimseq --help` is fast.
"""

from collections.abc import Sequence

# A technique's module and its line in `slimseq --help`, in the order of a day's work.
TECHNIQUES = {
    "train": ("slimseq.compression.train", "Train a new model from text files, or train a variant further."),
    "prune": ("slimseq.compression.prune.technique", "Remove parts of a variant, then train it to recover."),
    "distill": ("slimseq.compression.distill", "Train a smaller student on labels and on its teacher."),
    "average": ("slimseq.compression.average", "Average a variant's weights with those from before its training."),
    "quantize": ("slimseq.compression.quantize.technique", "Store a variant in fewer bits."),
    "tune-beams": ("slimseq.compression.tune_beams", "Find the fewest beams that keep a variant's quality."),
}
# What earlier versions called techniques. Their recipes say so, and so do the keys of finished steps, which stay valid.
FORMER_NAMES = {"tune-beams": "beams"}
# Defaults of earlier versions, by option: what the keys of finished steps have.
FORMER_DEFAULTS = {"precision": "bf16"}


def current_names(techniques: Sequence[str]) -> tuple[str, ...]:
    """Returns the techniques of a lineage by the names of today's verbs, whatever the version that recorded them."""
    current = {old: new for new, old in FORMER_NAMES.items()}
    return tuple(current.get(name, name) for name in techniques)
