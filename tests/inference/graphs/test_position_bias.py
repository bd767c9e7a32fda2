"""T5's relative positions fall into the same buckets as in transformers."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from slimseq.inference.graphs.position_bias import bucket_of
from slimseq.inference.models.architecture import Buckets


@pytest.mark.parametrize("is_bidirectional", [True, False])
@pytest.mark.parametrize(("count", "greatest"), [(32, 128), (8, 12), (16, 64), (32, 256), (64, 1000), (12, 77)])
def test_buckets_are_those_of_transformers(count: int, greatest: int, is_bidirectional: bool) -> None:
    distances = np.arange(-2 * greatest, 2 * greatest + 1)

    found = bucket_of(distances, Buckets(count, greatest), is_bidirectional=is_bidirectional)

    theirs: Any = T5Attention._relative_position_bucket
    wanted = theirs(torch.tensor(distances), is_bidirectional, count, greatest)
    assert found.tolist() == wanted.tolist()
