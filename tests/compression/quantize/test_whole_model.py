from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import load_model
from slimseq.compression.quantize.options import SchemeName
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.inference.generator import open_generator
from slimseq.models_store.files import read_manifest, write_manifest
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_artifact, tiny_context
from tests.families import Family


def make_fp32(context: Context, **changes: float) -> None:
    """Gives the original weights that bf16 does not hold; `changes` replace a tensor's first value."""
    folder = context.store.folder(Task.TRANSLATION, "original")
    tensors = {name: tensor.float() / 3 for name, tensor in load_file(folder / "model.safetensors").items()}
    for name, value in changes.items():
        tensors[name].view(-1)[0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    relist(context, folder)


def relist(context: Context, folder: Path) -> None:
    from slimseq.models_store.files import list_files
    from slimseq.models_store.manifest import digest_of

    files = list_files(folder)
    write_manifest(folder, read_manifest(folder).model_copy(update={"files": files, "digest": digest_of(files)}))


def test_weights_are_stored_in_the_requested_type(context: Context) -> None:
    make_fp32(context)

    manifest = quantize(context, Task.TRANSLATION, "original", "small", QuantizeOptions(scheme="bf16"))

    folder = context.store.folder(Task.TRANSLATION, "small")
    tensors = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert set(manifest.size.bytes_by_format) == {"safetensors"}
    assert manifest.size.bytes_by_format["safetensors"] < manifest.size.fp32_bytes * 0.6
    assert load_model(folder).config.dtype is not None


def test_fp16_keeps_three_bits_more_than_bf16(bart: Context) -> None:
    make_fp32(bart)
    quantize(bart, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))
    quantize(bart, Task.TRANSLATION, "original", "bf16", QuantizeOptions(scheme="bf16"))

    exact, fp16, bf16 = (
        load_file(bart.store.folder(Task.TRANSLATION, name) / "model.safetensors")["model.shared.weight"].float()
        for name in ("original", "fp16", "bf16")
    )

    assert 0 < (fp16 - exact).abs().max() < (bf16 - exact).abs().max() / 4


def test_an_fp16_artifact_generates_like_its_original(bart: Context) -> None:
    quantize(bart, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))

    with (
        open_generator(bart.store, Task.TRANSLATION, "fp16") as small,
        open_generator(bart.store, Task.TRANSLATION, "original") as original,
    ):
        options = small.manifest.generation.options(max_new_tokens=12)
        inputs = [small.encode(source) for source, _ in SENTENCES]
        assert small.generate(inputs, options) == original.generate(inputs, options)


def test_fp16_is_refused_for_t5(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    with pytest.raises(BadParameters, match="fp16 is not for T5"):
        quantize(context, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))

    assert context.store.variants(Task.TRANSLATION) == ["original"]


def test_a_weight_beyond_the_range_of_fp16_is_named(bart: Context) -> None:
    make_fp32(bart, **{"model.encoder.layers.0.fc1.weight": 1e6})

    with pytest.raises(BadParameters, match=r"model\.encoder\.layers\.0\.fc1\.weight has weights up to 1e\+06"):
        quantize(bart, Task.TRANSLATION, "original", "fp16", QuantizeOptions(scheme="fp16"))


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

    assert [name for name, _ in sizes] == ["ctranslate2", "ctranslate2"] and sizes[1][1] < sizes[0][1]
    assert texts[1] == texts[0]
    assert "warning" not in capfd.readouterr().err
