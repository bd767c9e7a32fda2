from compression.context import Context
from compression.quantize import QuantizeOptions, quantize
from models_store.generator import choose_runtime, open_generator
from models_store.manifest import Task
from tests.compression.tiny import SENTENCES


def test_an_artifact_of_its_own_format_is_whole_and_generates(context: Context) -> None:
    manifest = quantize(context, Task.TRANSLATION, "original", "ct2", QuantizeOptions(scheme="ctranslate2-int8"))

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
