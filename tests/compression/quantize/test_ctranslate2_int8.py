import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.options import SchemeName
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.inference.generator import choose_runtime, open_generator
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES

SCHEMES: tuple[SchemeName, ...] = ("ctranslate2-int8", "ctranslate2-int8-float16")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_artifact_of_its_own_format_is_whole_and_generates(context: Context, scheme: SchemeName) -> None:
    manifest = quantize(context, Task.TRANSLATION, "original", "ct2", QuantizeOptions(scheme=scheme))

    context.store.verify(Task.TRANSLATION, "ct2")
    assert set(manifest.size.bytes_by_format) == {"ctranslate2"}
    assert "ctranslate2/model.bin" in {file.path for file in manifest.files}
    assert choose_runtime(context.store, Task.TRANSLATION, "ct2").name == "ctranslate2"
    with open_generator(context.store, Task.TRANSLATION, "ct2") as generator:
        options = generator.manifest.generation.options(num_beams=2, max_new_tokens=8, min_new_tokens=8)
        outputs = generator.generate([generator.encode(source) for source, _ in SENTENCES[:3]], options)
    assert [output.output_tokens for output in outputs] == [8, 8, 8]


def test_quantizing_twice_gives_the_same_bytes(context: Context) -> None:
    options = QuantizeOptions(scheme="ctranslate2-int8")

    first = quantize(context, Task.TRANSLATION, "original", "first", options)
    second = quantize(context, Task.TRANSLATION, "original", "second", options)

    assert first.digest == second.digest


def test_what_is_no_matrix_takes_half_the_bytes_in_float16(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    sizes, texts = [], []
    for scheme in SCHEMES:
        manifest = quantize(context, Task.TRANSLATION, "original", scheme, QuantizeOptions(scheme=scheme))
        sizes.append(manifest.size.bytes_by_format["ctranslate2"])
        with open_generator(context.store, Task.TRANSLATION, scheme) as generator:
            options = generator.manifest.generation.options(max_new_tokens=8, min_new_tokens=8)
            encodings = [generator.encode(source) for source, _ in SENTENCES[:3]]
            texts.append([output.text for output in generator.generate(encodings, options)])

    assert sizes[1] < sizes[0]
    assert texts[1] == texts[0]
    assert "warning" not in capfd.readouterr().err
