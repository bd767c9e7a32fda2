from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slimseq.compression.context import Context
from slimseq.compression.models import load_model
from slimseq.compression.quantize.aware import add_fake_quantization, fake_quantize, remove_fake_quantization
from slimseq.compression.quantize.options import Blocks
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.compression.quantize.weight_only import quantize_rows_in_blocks
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import data_files


@pytest.mark.parametrize("width", [64, 40])
@pytest.mark.parametrize("symmetric", [True, False])
def test_fake_quantization_equals_that_of_the_kernel(symmetric: bool, width: int) -> None:
    floats = np.random.default_rng(0).normal(size=(50, width)).astype(np.float32)
    floats[3] = 0
    floats[4:6] = np.abs(floats[4:6])
    blocks = Blocks(4, 32, symmetric)

    ours = fake_quantize(torch.tensor(floats), blocks).numpy()

    packed, scales, *points = quantize_rows_in_blocks(floats, blocks)
    integers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(50, -1, 32).astype(np.float32)
    zeros = (
        np.stack([points[0] & 15, points[0] >> 4], axis=-1).reshape(50, -1)[:, : scales.shape[1]] if points else 8
    ) * np.ones_like(scales)
    expected = ((integers - zeros[..., None]) * scales[..., None]).reshape(50, -1)[:, :width]
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_model_has_quantized_weights_and_gradients_pass_them(context: Context) -> None:
    model = load_model(context.store.folder(Task.TRANSLATION, "original"))
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    before, count = head.weight.detach().clone(), model.num_parameters()

    add_fake_quantization(model, Blocks(4, 32, False))
    quantized = head.weight.detach()
    head(torch.ones(1, head.in_features)).sum().backward()

    torch.testing.assert_close(quantized, fake_quantize(before, Blocks(4, 32, False)))
    assert model.num_parameters() == count
    assert all(bool(parameter.grad.any()) for parameter in head.parameters() if parameter.grad is not None)
    remove_fake_quantization(model)
    torch.testing.assert_close(head.weight.detach(), before)
    assert head.weight is model.get_input_embeddings().weight


def test_fine_tuning_is_recorded_and_changes_the_quantized_weights(bart: Context, tmp_path: Path) -> None:
    options = QuantizeOptions(scheme="int4-weight-only", aware_steps=4, aware_learning_rate=1e-3)
    files = data_files(tmp_path)

    aware = quantize(bart, Task.TRANSLATION, "original", "aware", options, files)

    plain = quantize(bart, Task.TRANSLATION, "original", "plain", QuantizeOptions(scheme="int4-weight-only"))
    assert aware.lineage[-1].parameters["aware"]["steps"] == 4
    assert [file.path for file in aware.files] == [file.path for file in plain.files]
    assert aware.digest != plain.digest
