"""How much of the losses of a model is measured: what fits into a time, and what is measured in any case."""

from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.compress.structures import effort
from slimseq.compression.compress.structures.effort import FEWEST_PAIRS, LAYERS_TRIED, Effort, least_seconds
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.evaluation.dataset_files import Example
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_store

PAIRS = [Example(f"The cat sits on mat {number}.", f"Die Katze sitzt auf Matte {number}.") for number in range(20)]


def test_the_least_time_is_that_of_a_few_pairs_for_each_part_and_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tiny_store(tmp_path)
    parent = open_parent(context, Task.TRANSLATION, "original", "cut")
    pairs = TrainingSet(PAIRS, parent.tokenizer, parent.manifest.generation.prefix, parent.limits)

    def seconds_of_pair(model: Any, batch: Any, context: Any, encoded: Any = None) -> float:
        return 10.0 if encoded is None else 1.0

    monkeypatch.setattr(effort, "seconds_of_pair", seconds_of_pair)

    # Two layers in each stack: heads and channels in the encoder's, and attention to the source in the decoder's.
    layers = 2 * (1 + LAYERS_TRIED)
    encoder, decoder = 2 * 2 + layers, 2 * 3 + layers
    assert least_seconds(parent.model, pairs, context) == FEWEST_PAIRS * (10.0 * encoder + 1.0 * decoder)


def test_less_time_means_fewer_pairs_and_levels_down_to_the_fewest() -> None:
    whole = Effort(parts=10, layers=4, probe_pairs=48, layer_pairs=48)

    assert whole.within(1e6, 0.01) == whole
    short = whole.within(1.0, 0.01)
    assert (short.probed_levels, short.layer_pairs) == (1, FEWEST_PAIRS)
