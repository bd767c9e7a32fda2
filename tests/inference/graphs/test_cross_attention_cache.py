"""All kinds of cross-attention caches give the same logits, but for the rounding of int8."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, encoder_feeds, open_session
from slimseq.evaluation.host import has_vnni
from slimseq.inference.graphs.cross_attention_cache import (
    CrossAttentionCache,
    FloatCrossAttentionCache,
    Int8CrossAttentionCache,
    LongCrossAttentionCache,
)
from slimseq.inference.graphs.export import export_onnx
from tests.inference.graphs.stepwise import (
    LENGTH,
    LENGTHS,
    MASK,
    ROWS,
    STEPS,
    largest_differences,
    randomized,
    run_steps,
)
from tests.inference.graphs.test_related_models import RELATED


@pytest.fixture(params=["mT5", "mBART"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A random model, saved as `model`."""
    kind, configuration, switches = RELATED[request.param]
    made = randomized(kind(configuration(**switches)))
    made.save_pretrained(tmp_path / "model")
    return made


def logits(folder: Path, cross_attention: CrossAttentionCache) -> Any:
    target = folder / type(cross_attention).__name__
    export_onnx(folder / "model", target, cross_attention)
    generator = np.random.default_rng(0)
    ids, targets = (generator.integers(4, 50, (ROWS, length)) for length in (LENGTH, STEPS))
    return run_steps(target, ids, targets, cross_attention)["logits"]


def test_int8_differs_from_floats_by_rounding_alone(model: Any, tmp_path: Path) -> None:
    floats, integers = (
        logits(tmp_path, cross_attention)
        for cross_attention in (FloatCrossAttentionCache(), Int8CrossAttentionCache(not has_vnni()))
    )

    differences = np.abs(floats - integers)
    assert 0 < differences.max() < 0.1 * floats.std()


def test_the_int8_cache_of_a_source_is_the_same_beside_a_longer_one(model: Any, tmp_path: Path) -> None:
    export_onnx(tmp_path / "model", tmp_path / "onnx", Int8CrossAttentionCache())
    encoder = open_session(tmp_path / "onnx" / "encoder.onnx")
    ids = np.random.default_rng(0).integers(4, 50, (ROWS, LENGTH))

    names = [output.name for output in encoder.get_outputs()]
    together = dict(zip(names, encoder.run(names, encoder_feeds(TeacherForcedBatch(ids, MASK, ids))), strict=True))

    for row, length in enumerate(LENGTHS):
        own_ids, no_padding = ids[row : row + 1, :length], np.ones((1, length), dtype=np.int64)
        alone = encoder.run(names, encoder_feeds(TeacherForcedBatch(own_ids, no_padding, own_ids)))
        for output, values in zip(names, alone, strict=True):
            padded = together[output][row : row + 1]
            # The axis of positions is the one with padding. Scales of values have none: they are one a channel.
            longer_axes = [axis for axis in range(padded.ndim) if padded.shape[axis] != values.shape[axis]]
            unpadded = padded.take(range(length), axis=longer_axes[0]) if longer_axes else padded
            # Integers may differ by 1, where the float before rounding was between two of them.
            assert np.allclose(unpadded, values, atol=1e-6 if values.dtype == np.float32 else 1), output


def test_the_cache_of_documents_is_what_the_model_computes(model: Any, tmp_path: Path) -> None:
    differences = largest_differences(model, tmp_path, LongCrossAttentionCache())

    assert max(differences.values()) < 1e-4, differences
