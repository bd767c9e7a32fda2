from pathlib import Path

import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.training.layer_map import LayerMap, layer_map
from slimseq.models_store.manifest import Family
from tests.compression.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("family", list(Family))
def test_layers_meet_those_that_they_were_made_from_or_spread_ones(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    teacher = tiny_model(family, tokenizer, encoder_layers=4, decoder_layers=3)
    student = tiny_model(family, tokenizer, encoder_layers=2, decoder_layers=1)

    assert layer_map(student, teacher) == LayerMap((1, 3), (2,))
    assert layer_map(student, teacher, {"encoder": [0, 3], "decoder": [0]}) == LayerMap((0, 3), (0,))
    with pytest.raises(BadParameters, match="1 decoder layers cannot be compared"):
        layer_map(student, teacher, {"encoder": [0, 3], "decoder": [0, 2]})
