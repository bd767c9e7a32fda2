from pathlib import Path

import pytest

from slimseq.compression.distill import DistillOptions, kept_layers
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_model, tiny_tokenizer
from tests.families import Family

TASK = Task.TRANSLATION


def test_layers_are_evenly_spaced_and_by_default_half_of_the_decoders_stay(tmp_path: Path) -> None:
    model = tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path), encoder_layers=3, decoder_layers=4)
    parts = architecture_of_model(model)

    for options, encoder, decoder in (
        (DistillOptions(), [0, 1, 2], [0, 3]),
        (DistillOptions(2, 3), [0, 2], [0, 2, 3]),
        (DistillOptions(1, 4), [0], [0, 1, 2, 3]),
    ):
        assert kept_layers(parts, options) == {"encoder": encoder, "decoder": decoder}
    for number in (0, 5):
        with pytest.raises(BadParameters, match="of 4 decoder layers"):
            kept_layers(parts, DistillOptions(decoder_layers=number))
