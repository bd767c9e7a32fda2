"""Scales that are known beforehand reach as far as values do, and channels that reach further coarsen nothing."""

from pathlib import Path

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.groups import inputs_of, is_output_projection, products_of
from slimseq.compression.quantize.random_inputs import Reading, random_batch
from slimseq.compression.quantize.static_scales import fixed_queries, fixed_scales, scale_of, step_of
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache, Int8CrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.models_store.manifest import Family, Task
from tests.compression.quantize.measured import with_large_channels

STATES = np.random.default_rng(0).uniform(-1, 1, (50, 64)).astype(np.float32)


def test_integers_reach_as_far_as_values_and_the_margin() -> None:
    scale = scale_of(STATES, margin=1.5)

    assert 1.5 * np.abs(STATES).max() <= 127 * scale.step < 1.5 * np.abs(STATES).max() * 2 ** (1 / 8)
    assert (scale.factors == 1).all()


def test_a_channel_that_gets_larger_is_divided_by_a_power_of_two() -> None:
    states = STATES.copy()
    states[:, 7] *= 16

    scale = scale_of(states, margin=1.0)

    assert scale.factors[7] == 8
    assert (np.delete(scale.factors, 7) == 1).all()
    assert scale.step == pytest.approx(2 * scale_of(STATES, margin=1.0).step, rel=0.1)


def test_last_bits_change_nothing() -> None:
    states = STATES * 3.7
    states[:, 5] *= 20

    scale, other = (scale_of(each, margin=1.1) for each in (states, states * np.float32(1 + 1e-6)))

    assert scale.step == other.step and np.array_equal(scale.factors, other.factors)


def test_values_that_are_all_zero_have_a_step_too() -> None:
    scale = scale_of(np.zeros((3, 4), dtype=np.float32), margin=1.0)

    assert scale.step > 0 and (scale.factors == 1).all()
    assert step_of(0.0) > 0


def test_norms_and_contexts_have_a_scale_and_what_nothing_bounds_has_none(context: Context, tmp_path: Path) -> None:
    source = context.store.folder(Task.TRANSLATION, "original")
    export_onnx(source, tmp_path / "exported", FloatCrossAttentionCache(), is_projection_shared=False)
    family = context.store.manifest(Task.TRANSLATION, "original").family
    down = "wo" if family is Family.T5 else "fc2"

    for graph in (ENCODER, DECODER):
        path = tmp_path / "exported" / graph
        products = products_of(path)
        found = fixed_scales(Reading(tmp_path / "exported", graph, random_batch(source)), products)
        unbounded = inputs_of(path, [name for name in products if f"/{down}/" in name])

        assert set(found) == inputs_of(path, products) - unbounded
        assert unbounded


def test_what_the_output_projection_reads_is_left_even_for_its_matrix_is_the_embedding(tmp_path: Path) -> None:
    norms = ["decoder.final_layer_norm.weight", "decoder.block.0.layer.1.layer_norm.weight"]
    source = with_large_channels(tmp_path, norms, [3])
    export_onnx(source, tmp_path / "exported", FloatCrossAttentionCache(), is_projection_shared=False)
    path = tmp_path / "exported" / DECODER
    projection = [name for name in products_of(path) if is_output_projection(name)]

    found = fixed_scales(Reading(tmp_path / "exported", DECODER, random_batch(source)), products_of(path))

    assert len(projection) == 1
    uneven = {name for name, scale in found.items() if scale.factors[3] > 1}
    assert uneven and not uneven & inputs_of(path, projection)


def test_queries_have_a_step_where_they_are_multiplied_as_integers(bart: Context, tmp_path: Path) -> None:
    source = bart.store.folder(Task.TRANSLATION, "original")
    export_onnx(source, tmp_path / "integers", Int8CrossAttentionCache())
    export_onnx(source, tmp_path / "floats", FloatCrossAttentionCache())

    steps = fixed_queries(Reading(tmp_path / "integers", DECODER, random_batch(source)))

    assert len(steps) == 2 and all(0 < step < 1 for step in steps.values())
    assert fixed_queries(Reading(tmp_path / "floats", DECODER, random_batch(source))) == {}
