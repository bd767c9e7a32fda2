"""Safetensors are read as float32, and files that are damaged or lie about their content are refused."""

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

    assert "first" in weights
    assert "second" in weights
    assert "third" not in weights


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="holds no safetensors"):
        SafetensorsReader(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a tensor of integers and one of floats."""
    path = tmp_path / "model.safetensors"
    save_file({"whole": torch.ones(2, dtype=torch.int64), "long": torch.ones(100)}, path)
    return path


def test_a_missing_tensor_and_a_tensor_of_integers_are_named(path: Path) -> None:
    weights = SafetensorsReader(path.parent)

    with pytest.raises(BadSource, match="hold no bias or weight"):
        weights.first_of("bias", "weight")
    with pytest.raises(BadSource, match="whole is of type I64"):
        weights.read("whole")


def test_a_file_that_is_cut_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])

    with pytest.raises(BadSource, match="ends behind the file"):
        SafetensorsReader(path.parent).read("long")


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    path.write_bytes(b"not a header at all")

    with pytest.raises(BadSource, match=r"model\.safetensors is no safetensors file"):
        SafetensorsReader(path.parent)


def of_header(header: bytes, length: int | None = None) -> bytes:
    """Returns a file with a header, which says its length, and four bytes of data."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + bytes(4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (of_header(b"{}", 1 << 40), "its header has 1,099,511,627,776 bytes, and the file 14"),
        (of_header(b"[]"), "its header is no table of tensors"),
        (of_header(b"[" * 100_000), "recursion|nested"),
        (of_header(b'{"w": 5}'), "the entry of 'w' is no tensor"),
        (
            of_header(b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, true]}}'),
            "the entry of 'w' is no tensor",
        ),
        (of_header(b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}'), "the entry of 'w' is no tensor"),
        (of_header(b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}'), "'w' ends behind the file"),
        (of_header(b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}'), "'w' has 4 bytes, and the shape"),
    ],
    ids=[
        "long",
        "a list",
        "deep",
        "a number",
        "no offsets",
        "a negative size",
        "ends before it begins",
        "a wrong shape",
    ],
)
def test_a_header_that_does_not_match_the_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(BadSource, match=rf"model\.safetensors is no safetensors file: .*({reason})") as refused:
        SafetensorsReader(tmp_path)

    assert "\n" not in str(refused.value)
