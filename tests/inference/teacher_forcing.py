"""The log-probabilities that transformers gives the tokens of an output: the reference for all runtimes."""

from collections.abc import Sequence
from pathlib import Path

import torch

from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.pretrained import load_pretrained


def mean_log_probabilities(
    folder: Path, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]], is_last_forced: Sequence[bool]
) -> list[float]:
    """Returns the mean log-softmax at the tokens of each output. A last token that is forced counts as certain."""
    model, start = load_pretrained(folder, torch.float32), read_configuration(folder).decoder_start_id
    found = []
    for row, ids, is_forced in zip(rows, outputs, is_last_forced, strict=True):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([row]), decoder_input_ids=torch.tensor([[start, *ids[:-1]]])).logits
        logarithms = logits[0].log_softmax(-1)
        counted = ids[:-1] if is_forced else ids
        found.append(sum(float(logarithms[place, token]) for place, token in enumerate(counted)) / len(ids))
    return found
