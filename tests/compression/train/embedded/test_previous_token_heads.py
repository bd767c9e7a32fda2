from dataclasses import replace

import pytest
import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.scratch import make_model
from tests.compression.tiny import ARCHITECTURE
from tests.families import Family

IDS = torch.tensor([[5, 9, 17, 30, 8, 4]])


def test_previous_token_heads_attend_one_and_two_tokens_back() -> None:
    plain = make_model(ARCHITECTURE, 300, seed=0)
    model = make_model(replace(ARCHITECTURE, previous_token_heads=True), 300, seed=0)

    before, after = (
        each(input_ids=IDS, decoder_input_ids=IDS, output_attentions=True, use_cache=False) for each in (plain, model)
    )

    for name, head, distance in (
        ("encoder_attentions", 0, 1),
        ("encoder_attentions", 1, 2),
        ("decoder_attentions", 0, 1),
    ):
        was = getattr(before, name)[0][0, head].diagonal(-distance)
        now = getattr(after, name)[0][0, head].diagonal(-distance)
        assert bool((now / (1 - now) > 50 * was / (1 - was)).all()), (name, head)


@pytest.mark.parametrize("wrong", [{"family": Family.BART}, {"heads": 1}])
def test_other_architectures_have_no_such_heads(wrong: dict[str, object]) -> None:
    architecture = replace(ARCHITECTURE, previous_token_heads=True, **wrong)  # type: ignore[arg-type]

    with pytest.raises(BadParameters, match="previous-token heads"):
        make_model(architecture, 300, seed=0)
