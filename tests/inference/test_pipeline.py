"""`pipeline` gives the results of the pipelines of transformers 4, which transformers 5 no longer has.

The comparison runs only where transformers 4 is installed.
"""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import transformers

from slimseq.cli.main import run
from slimseq.inference import Pipeline, pipeline
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.errors import BadSource, InvalidOptions
from slimseq.models_store.places import embedded_store
from tests.compression.language_models import m2m100_folder, marian_folder, mbart_folder, related_folder
from tests.compression.tiny import tiny_model_folder
from tests.families import Family

TEXTS = ["The dog , was n't late.", "Good morning.", "Tom"]
MODULE = sys.modules["slimseq.inference.pipeline"]
PAIR = {"src_lang": "en_XX", "tgt_lang": "de_DE"}
NLLB_PAIR = {"src_lang": "eng_Latn", "tgt_lang": "deu_Latn"}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names of the commands that `pipeline` runs.

    They run in this process: another one would need seconds to import torch.
    """
    called: list[str] = []

    def slimseq(*arguments: str) -> None:
        called.append(arguments[0])
        run(arguments)

    monkeypatch.setattr(MODULE, "_slimseq", slimseq)
    return called


def embedded_folder(task: str, folder: Path) -> Path:
    return Path(shutil.copytree(embedded_store() / task / "original", folder / task / "original"))


@pytest.mark.skipif(not hasattr(transformers, "SummarizationPipeline"), reason="transformers 5 has no such pipelines")
@pytest.mark.parametrize(
    ("task", "make", "opening"),
    [
        ("summarization", partial(embedded_folder, "summarization"), {}),
        ("translation_en_to_de", partial(embedded_folder, "translation"), {}),
        ("text2text-generation", partial(tiny_model_folder, Family.T5), {}),
        ("summarization", partial(tiny_model_folder, Family.BART), {}),
        ("summarization", partial(related_folder, "PEGASUS"), {}),
        ("translation", partial(related_folder, "mT5"), {}),
        ("translation", partial(marian_folder, pair=("en", "de")), {}),
        ("translation", mbart_folder, PAIR),
        ("translation", m2m100_folder, NLLB_PAIR),
    ],
)
@pytest.mark.usefixtures("commands")
def test_outputs_are_those_of_transformers_4(
    task: str, make: Callable[[Path], Path], opening: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    folder = make(tmp_path / "model")
    theirs = transformers.pipeline(task, model=str(folder), dtype=torch.float32, device=-1, **opening)  # type: ignore[call-overload]
    ours = pipeline(task, folder, tokenizer=folder, device=-1, cache=tmp_path / "cache", threads=1, **opening)

    for arguments in (
        {"max_new_tokens": 16, "truncation": True},
        {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2, "no_repeat_ngram_size": 2},
        {"max_new_tokens": 12, "min_length": 8, "num_beams": 1, "clean_up_tokenization_spaces": True},
    ):
        assert ours(TEXTS, **arguments) == theirs(TEXTS, **arguments)
        assert ours(TEXTS[0], **arguments) == theirs(TEXTS[0], **arguments)
        assert list(ours(iter(TEXTS), **arguments)) == list(theirs((text for text in TEXTS), **arguments))
    # Without options. Random models would go on to their last position.
    if folder.name == "original":
        assert ours(TEXTS[1]) == theirs(TEXTS[1])


@pytest.fixture
def translator(tmp_path: Path, commands: list[str]) -> Pipeline:
    folder = tiny_model_folder(Family.BART, tmp_path / "Tiny Model")
    return pipeline("translation_en_to_de", folder, cache=tmp_path / "cache", max_length=12)


def test_results_have_the_shape_of_the_inputs(translator: Pipeline) -> None:
    [one] = translator(TEXTS[0])
    two = translator(TEXTS[:2], num_return_sequences=3)
    sampled = translator(TEXTS[0], do_sample=True, num_return_sequences=3, seed=3)

    assert list(one) == ["translation_text"]
    assert translator([TEXTS[0]]) == [one]
    assert next(translator(text for text in TEXTS)) == [one]
    assert translator([]) == []
    assert [len(records) for records in two] == [3, 3]
    assert two[0][0] == one
    assert len(sampled) == 3
    assert sampled[0] != sampled[1]
    assert sampled == translator(TEXTS[0], do_sample=True, num_return_sequences=3, seed=3, batch_size=1)


def test_a_model_is_imported_and_quantized_once_and_again_where_its_files_changed(
    tmp_path: Path, commands: list[str]
) -> None:
    folder = tiny_model_folder(Family.T5, tmp_path / "model")
    open_model = partial(pipeline, "summarization", folder, cache=tmp_path / "cache")

    first = open_model(precision="int8")
    again = open_model(precision="int8")
    commands_before_change = list(commands)
    (folder / "generation_config.json").write_text('{"max_length": 7}')
    changed = open_model()

    assert first(TEXTS, max_length=9) == again(TEXTS, max_length=9)
    assert commands_before_change == ["import", "quantize"]
    assert commands == ["import", "quantize", "import"]
    assert changed.model.manifest.variant != again.model.manifest.variant


def test_an_imported_model_is_an_artifact_with_a_precision_of_its_own(tmp_path: Path, commands: list[str]) -> None:
    folder = tiny_model_folder(Family.T5, tmp_path / "model")
    imported = pipeline("summarization", folder, cache=tmp_path / "cache")
    artifact = tmp_path / "cache" / "summarization" / imported.model.manifest.variant

    opened = pipeline("summarization", artifact.name, store=tmp_path / "cache")

    assert opened(TEXTS[0], max_length=9) == imported(TEXTS[0], max_length=9)
    with pytest.raises(InvalidOptions, match="precision: 'int4' is neither fp32 nor int8"):
        pipeline("summarization", artifact, precision="int4")  # type: ignore[arg-type]
    with pytest.raises(InvalidOptions, match="is an artifact, which has its own; `slimseq quantize` makes another"):
        pipeline("summarization", artifact, precision="int8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beam_groups": 2}, "unsupported argument 'num_beam_groups'; supported are batch_size, "),
        ({"device": 0}, "unsupported argument device=0: models run on the CPU"),
        ({"dtype": "bfloat16"}, r'dtype=\'bfloat16\': give precision="int8" for a smaller and faster model'),
        ({"num_return_sequences": 5}, r"num_return_sequences \(5\) is above num_beams \(4\)"),
        ({"max_length": 5000}, "max_new_tokens"),
    ],
)
def test_an_argument_that_is_not_supported_is_named(
    translator: Pipeline, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptions, match=message):
        translator(TEXTS[0], **arguments)


def test_other_languages_than_those_of_the_artifact_are_refused(translator: Pipeline) -> None:
    model = embedded_store() / "translation" / "original"
    refusal = "target: 'fr' is not supported by translation/original, which translates en to de"

    with pytest.raises(UnsupportedLanguages, match=refusal):
        pipeline("translation_en_to_fr", model, runtime="torch")
    with pytest.raises(UnsupportedLanguages, match="target: 'fr' is not supported by"):
        translator(TEXTS[0], tgt_lang="fr")


def test_a_long_text_is_refused_or_truncated(translator: Pipeline) -> None:
    with pytest.raises(InvalidOptions, match=r"tokens and the model reads at most \d+: give truncation=True"):
        translator("garden " * 500)
    assert translator("garden " * 500, truncation=True)
    with pytest.raises(TypeError, match="a text must be a string, not dict; of a data set give a column"):
        translator([{"text": "Yes."}])  # type: ignore[list-item]


def test_a_task_or_a_model_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptions, match="unknown task 'ner'; known are summarization, translation, "):
        pipeline("ner", "model")
    (tmp_path / "empty").mkdir()
    reason = (
        "artifacts has no summarization/.*empty, and .*: slimseq import .*empty is not a model folder: it has no config"
    )
    with pytest.raises(BadSource, match=reason):
        pipeline("summarization", tmp_path / "empty", cache=tmp_path / "cache")
