"""Static scales cover the measured values, and outlier channels are found."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.constant_matmuls import inputs_of, matmuls_of
from slimseq.compression.quantize.int8 import activations
from slimseq.compression.quantize.int8.activations import (
    GraphInputs,
    outlier_channels,
    random_batch,
    scale_for,
    scale_of,
    static_query_scales,
    static_scales,
)
from slimseq.compression.quantize.teacher_forcing import Feeds, TeacherForcedBatch, steps
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache, Int8CrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER, LM_HEAD_MATMUL
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import with_outlier_channels
from tests.families import Family

STATES = np.random.default_rng(0).uniform(-1, 1, (50, 64)).astype(np.float32)


def test_a_scale_covers_the_values_and_the_margin() -> None:
    scale = scale_of(STATES, margin=1.5)

    assert 1.5 * np.abs(STATES).max() <= 127 * scale.scale < 1.5 * np.abs(STATES).max() * 2 ** (1 / 8)
    assert (scale.factors == 1).all()


def test_an_outlier_channel_is_divided_by_a_power_of_two() -> None:
    states = STATES.copy()
    states[:, 7] *= 16

    scale = scale_of(states, margin=1.0)

    assert scale.factors[7] == 8
    assert (np.delete(scale.factors, 7) == 1).all()
    assert scale.scale == pytest.approx(2 * scale_of(STATES, margin=1.0).scale, rel=0.1)


def test_a_difference_in_the_last_bits_gives_the_same_scale() -> None:
    states = STATES * 3.7
    states[:, 5] *= 20

    scale, other = (scale_of(each, margin=1.1) for each in (states, states * np.float32(1 + 1e-6)))

    assert scale.scale == other.scale
    assert np.array_equal(scale.factors, other.factors)


def test_values_that_are_all_zero_have_a_positive_scale() -> None:
    scale = scale_of(np.zeros((3, 4), dtype=np.float32), margin=1.0)

    assert scale.scale > 0
    assert (scale.factors == 1).all()
    assert scale_for(0.0) > 0


def test_outputs_of_norms_and_attention_have_a_static_scale_and_other_inputs_have_none(
    family_context: Context, tmp_path: Path
) -> None:
    source = family_context.store.folder(Task.TRANSLATION, "original")
    export_onnx(source, tmp_path / "exported", FloatCrossAttentionCache(), is_projection_shared=False)
    family = family_context.store.manifest(Task.TRANSLATION, "original").family
    down = "wo" if family == Family.T5 else "fc2"

    for graph in (ENCODER, DECODER):
        path = tmp_path / "exported" / graph
        matmuls = matmuls_of(path)
        found = static_scales(GraphInputs(tmp_path / "exported", graph, random_batch(source)), matmuls)
        unbounded = inputs_of(path, [name for name in matmuls if f"/{down}/" in name])

        assert set(found) == inputs_of(path, matmuls) - unbounded
        assert unbounded


def test_the_input_of_the_output_projection_has_no_smoothing_factors(tmp_path: Path) -> None:
    norms = ["decoder.final_layer_norm.weight", "decoder.block.0.layer.1.layer_norm.weight"]
    source = with_outlier_channels(tmp_path, norms, [3])
    export_onnx(source, tmp_path / "exported", FloatCrossAttentionCache(), is_projection_shared=False)
    path = tmp_path / "exported" / DECODER

    found = static_scales(GraphInputs(tmp_path / "exported", DECODER, random_batch(source)), matmuls_of(path))

    smoothed = {name for name, scale in found.items() if scale.factors[3] > 1}
    projected = inputs_of(path, [LM_HEAD_MATMUL])
    assert len(projected) == 1
    assert smoothed
    assert not smoothed & projected


def test_queries_of_int8_cross_attention_have_a_static_scale(context: Context, tmp_path: Path) -> None:
    source = context.store.folder(Task.TRANSLATION, "original")
    export_onnx(source, tmp_path / "integers", Int8CrossAttentionCache())
    export_onnx(source, tmp_path / "floats", FloatCrossAttentionCache())

    scales = static_query_scales(GraphInputs(tmp_path / "integers", DECODER, random_batch(source)))

    assert len(scales) == 2
    assert all(0 < scale < 1 for scale in scales.values())
    assert static_query_scales(GraphInputs(tmp_path / "floats", DECODER, random_batch(source))) == {}


OUTLIERS = [3, 11]
NORMS = {ENCODER: "encoder.block.0.layer.1.layer_norm.weight", DECODER: "decoder.block.0.layer.2.layer_norm.weight"}


def test_caches_of_earlier_steps_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all steps of t5-small took 0.8 GB."""
    source = with_outlier_channels(tmp_path, list(NORMS.values()), OUTLIERS)
    export_onnx(source, tmp_path / "exported", FloatCrossAttentionCache())
    path = tmp_path / "exported" / DECODER
    most_held = 0

    def watched_steps(decoder: Any, batch: TeacherForcedBatch, cross: Feeds) -> Iterator[tuple[Feeds, Feeds]]:
        nonlocal most_held
        caches: list[weakref.ref[Any]] = []
        for feeds, outputs in steps(decoder, batch, cross):
            outputs["a cache"] = np.zeros(1)
            caches.append(weakref.ref(outputs["a cache"]))
            yield feeds, outputs
            most_held = max(most_held, sum(each() is not None for each in caches))

    monkeypatch.setattr(activations, "steps", watched_steps)
    found = GraphInputs(tmp_path / "exported", DECODER, random_batch(source)).inputs_of(matmuls_of(path))

    assert {values.shape[:2] for values in found.values()} == {(activations.TOKENS, activations.TEXTS)}
    # Those of a step, and of the one before it.
    assert 1 <= most_held <= 2


def test_channels_that_a_norm_makes_large_are_found(tmp_path: Path) -> None:
    source = with_outlier_channels(tmp_path, list(NORMS.values()), OUTLIERS)
    exported = tmp_path / "exported"
    export_onnx(source, exported, FloatCrossAttentionCache())

    for graph in NORMS:
        matmuls = [name for name in matmuls_of(exported / graph) if "DenseReluDense/wi" in name]
        found = outlier_channels(GraphInputs(exported, graph, random_batch(source)), matmuls)
        assert list(found.values()) == [OUTLIERS]
        assert "block.0" in next(iter(found))
