"""The schemes `bf16` and `fp16`: bytes, precision, and weights that fp16 cannot hold."""

import pytest
import torch
from safetensors.torch import load_file, save

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions, SchemeName
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES
from tests.damage import forge

FLOATS: dict[SchemeName, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def make_fp32(context: Context, **changes: float) -> None:
    """Gives the original weights that bf16 does not hold; `changes` replace a tensor's first value."""
    folder = context.store.folder(Task.TRANSLATION, "original")
    tensors = {name: tensor.float() / 3 for name, tensor in load_file(folder / "model.safetensors").items()}
    for name, value in changes.items():
        tensors[name].view(-1)[0] = value
    forge(folder, "model.safetensors", save(tensors, metadata={"format": "pt"}))


def test_weights_are_stored_in_the_requested_type_and_fp16_keeps_three_bits_more(context: Context) -> None:
    make_fp32(context)
    small = {
        scheme: quantize(context, Task.TRANSLATION, "original", scheme, QuantizeOptions(scheme=scheme)).size
        for scheme in FLOATS
    }

    tensors = {
        name: load_file(context.store.folder(Task.TRANSLATION, name) / "model.safetensors")
        for name in ("original", *FLOATS)
    }

    for scheme, dtype in FLOATS.items():
        assert {tensor.dtype for tensor in tensors[scheme].values()} == {dtype}
        assert set(small[scheme].bytes_by_format) == {"safetensors"}
        assert small[scheme].bytes_by_format["safetensors"] < small[scheme].fp32_bytes * 0.6
    exact, bf16, fp16 = (each["model.shared.weight"].float() for each in tensors.values())
    assert 0 < (fp16 - exact).abs().max() < (bf16 - exact).abs().max() / 4


def test_an_fp16_artifact_generates_like_its_original(context: Context) -> None:
    quantize(context, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))

    with (
        open_generator(context.store, Task.TRANSLATION, "fp16") as small,
        open_generator(context.store, Task.TRANSLATION, "original") as original,
    ):
        options = small.manifest.generation.options(max_new_tokens=12)
        inputs = [small.encode(source) for source, _ in SENTENCES]
        assert small.generate(inputs, options) == original.generate(inputs, options)


def test_a_weight_beyond_the_range_of_fp16_is_named(context: Context) -> None:
    make_fp32(context, **{"model.encoder.layers.0.fc1.weight": 1e6})

    with pytest.raises(BadParameters, match=r"model\.encoder\.layers\.0\.fc1\.weight has weights up to 1e\+06"):
        quantize(context, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))


SCHEMES: tuple[SchemeName, ...] = ("ctranslate2-int8", "ctranslate2-int8-float16")


def test_tensors_that_are_not_matrices_have_half_the_bytes_in_float16(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes, texts = [], []
    for scheme in SCHEMES:
        manifest = quantize(context, Task.TRANSLATION, "original", scheme, QuantizeOptions(scheme=scheme))
        context.store.verify(Task.TRANSLATION, scheme)
        (size,) = manifest.size.bytes_by_format.items()
        sizes.append(size)
        with open_generator(context.store, Task.TRANSLATION, scheme) as generator:
            options = generator.manifest.generation.options(max_new_tokens=8, min_new_tokens=8)
            encodings = [generator.encode(source) for source, _ in SENTENCES[:3]]
            texts.append([output.text for output in generator.generate(encodings, options)])

    assert [name for name, _ in sizes] == ["ctranslate2", "ctranslate2"]
    assert sizes[1][1] < sizes[0][1]
    assert texts[1] == texts[0]
    assert "warning" not in capfd.readouterr().err
