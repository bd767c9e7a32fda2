from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.models_store.errors import BadSource


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(3, 5).to(dtype)
    save_file({"other": torch.ones(7), "values": values}, tmp_path / "model.safetensors")

    weights = SafetensorsReader(tmp_path)

    assert weights.shape("values") == (3, 5)
    assert weights.read("values").dtype == np.float32
    assert np.array_equal(weights.read("values"), values.float().numpy())


def test_tensors_may_be_in_several_files(tmp_path: Path) -> None:
    save_file({"first": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"second": torch.zeros(2)}, tmp_path / "model-00002-of-00002.safetensors")

    weights = SafetensorsReader(tmp_path)

    assert "first" in weights and "second" in weights and "third" not in weights


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="holds no safetensors"):
        SafetensorsReader(tmp_path)

    path = tmp_path / "model.safetensors"
    save_file({"whole": torch.ones(2, dtype=torch.int64), "long": torch.ones(100)}, path)
    with pytest.raises(BadSource, match="hold no bias or weight"):
        SafetensorsReader(tmp_path).first_of("bias", "weight")
    with pytest.raises(BadSource, match="whole is of type I64"):
        SafetensorsReader(tmp_path).read("whole")

    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadSource, match="ends behind the file"):
        SafetensorsReader(tmp_path).read("long")

    path.write_bytes(b"not a header at all")
    with pytest.raises(BadSource, match=r"model\.safetensors is no safetensors file"):
        SafetensorsReader(tmp_path)
