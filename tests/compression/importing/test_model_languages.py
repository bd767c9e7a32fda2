"""The languages that are named on import are those that the tokenizer marks and that generation begins with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.training_data import Limits, TrainingSet
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, compression
from tests.compression.language_models import marian_folder, mbart_folder
from tests.compression.tiny import SENTENCES, tiny_import, tiny_model_folder
from tests.families import Family

TASK = Task.TRANSLATION
TEXT = SENTENCES[0][1]


def imported(tmp_path: Path, source: Path, *words: object) -> Finished:
    return compression("import", source, "--task", "translation", *words, "--store", tmp_path / "store", "--json")


@pytest.mark.parametrize("kind", ["mbart", "mbart50"])
def test_the_named_languages_mark_texts_and_begin_outputs(tmp_path: Path, kind: str) -> None:
    done = imported(tmp_path, mbart_folder(tmp_path / kind, kind), "--language", "fr", "--language", "en_XX")

    assert done.code == 0, done.error
    store = Store(tmp_path / "store")
    folder = store.folder(TASK, "original")
    manifest = store.manifest(TASK, "original")
    tokenizer = Tokenizer(folder)
    french, english = tokenizer.id_of("fr_XX"), tokenizer.id_of("en_XX")
    assert manifest.languages == ["fr", "en"]
    assert (manifest.generation.source_language_token, manifest.generation.target_language_token) == ("fr_XX", "en_XX")
    ids = tokenizer.encode(TEXT, 40).ids
    assert ids[-1 if kind == "mbart" else 0] == french
    assert english not in ids
    assert ids == AutoTokenizer.from_pretrained(folder)(TEXT).input_ids
    configuration = read_configuration(folder)
    first = configuration.decoder_start_id if kind == "mbart" else configuration.forced_bos_id
    assert first == english
    starts = {"decoder_start_token_id": english} if kind == "mbart" else {"forced_bos_token_id": english}
    reference = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / kind, dtype=torch.float32)
    wanted = reference.generate(torch.tensor([ids]), num_beams=1, max_new_tokens=12, **starts)[0].tolist()[1:]
    with open_generator(store, TASK, "original", "onnxruntime") as ours:
        options = manifest.generation.options(num_beams=1, max_new_tokens=12)
        assert ours.runtime.generate([ids], options)[0].ids == wanted


def test_a_long_text_keeps_its_end_and_its_language(tmp_path: Path) -> None:
    folder = mbart_folder(tmp_path / "model")
    tokenizer = Tokenizer(folder)

    cut = tokenizer.encode("The train leaves at nine. " * 20, 16)

    assert cut.ids[-2:] == [tokenizer.id_of("</s>"), tokenizer.id_of("en_XX")]
    assert len(cut.ids) == 16
    assert cut.is_truncated


@pytest.mark.parametrize("kind", ["mbart", "mbart50"])
def test_training_targets_are_marked_with_the_target_language(tmp_path: Path, kind: str) -> None:
    context = tiny_import(tmp_path, mbart_folder(tmp_path / kind, kind), languages=["en", "fr"])
    folder = context.store.folder(TASK, "original")
    theirs = AutoTokenizer.from_pretrained(folder)
    source, target = SENTENCES[0]

    pair = TrainingSet([Example(source, target)], Tokenizer(folder), "", Limits(40, 40))[0]

    assert pair.source == theirs(source).input_ids
    assert pair.target == theirs(text_target=target).input_ids


@pytest.mark.parametrize(
    ("files", "languages", "found", "token"),
    [
        ({"source": "ro_RO", "target": "cs_CZ"}, None, ["ro", "cs"], "cs_CZ"),
        ({"more": ("pt_PT", "pt_BR")}, ["en", "pt-br"], ["en", "pt_BR"], "pt_BR"),
    ],
)
def test_languages_are_those_of_the_files_or_named_regional_codes(
    tmp_path: Path, files: dict[str, Any], languages: list[str] | None, found: list[str], token: str
) -> None:
    manifest = taken(tmp_path, mbart_folder(tmp_path / "model", **files), languages)

    assert (manifest.languages, manifest.generation.target_language_token) == (found, token)


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (["fr"], "--language is given once; a translation needs it twice, source and target"),
        (["tlh", "en"], "--language tlh is not a language of the tokenizer, which has ar, cs, de, en, "),
        (["en", "pt"], "--language pt is ambiguous: the tokenizer has pt_PT, pt_BR; name one of them"),
        (None, "nothing in the model says which language it translates into: give --language SOURCE --language TARGET"),
    ],
)
def test_a_language_that_the_tokenizer_lacks_is_refused(
    tmp_path: Path, languages: list[str] | None, words: str
) -> None:
    source = mbart_folder(tmp_path / "model", target=None, more=("pt_PT", "pt_BR"))

    with pytest.raises(BadParameters, match=words):
        taken(tmp_path, source, languages)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("name", "pair"), [("model", ("fr", "en")), ("opus-mt-tc-big-fr-en", None)])
def test_a_marian_has_the_pair_of_its_configuration_or_of_its_name(
    tmp_path: Path, name: str, pair: tuple[str, str] | None
) -> None:
    assert taken(tmp_path, marian_folder(tmp_path / name, pair), None).languages == ["fr", "en"]


@pytest.mark.parametrize(
    ("pair", "targets", "languages", "words"),
    [
        (("fr", "en"), (), ["en", "fr"], r"--language en: this Marian translates from fr \(fr to en\)"),
        (("fr", "en"), (), ["fr", "de"], r"--language de: this Marian translates into en \(fr to en\)"),
        (None, (), None, "nothing in .*model says which languages this Marian translates: give --language SOURCE"),
        (("en", "ROMANCE"), ("fra", "ita"), None, "target ROMANCE is not one of this Marian's targets: .* fra, ita"),
        (("en", "ROMANCE"), ("fra", "ita"), ["en", "deu"], "--language deu is not one of this Marian's targets"),
    ],
)
def test_a_marian_is_not_relabelled(
    tmp_path: Path, pair: tuple[str, str] | None, targets: tuple[str, ...], languages: list[str] | None, words: str
) -> None:
    source = marian_folder(tmp_path / "model", pair, targets)

    with pytest.raises(BadParameters, match=words):
        taken(tmp_path, source, languages)


def test_a_marian_with_several_targets_gets_the_named_one(tmp_path: Path) -> None:
    source = marian_folder(tmp_path / "model", ("en", "ROMANCE"), ("fra", "ita"))

    manifest = taken(tmp_path, source, ["en", "ita"])

    assert (manifest.languages, manifest.generation.prefix) == (["en", "ita"], ">>ita<< ")
    tokenizer = Tokenizer(tmp_path / "store" / "translation" / "original")
    assert tokenizer.encode(manifest.generation.prefix + TEXT, 40).ids[0] == tokenizer.id_of(">>ita<<")


def test_a_marian_learns_targets_in_the_pieces_of_its_target_language(tmp_path: Path) -> None:
    from transformers import MarianTokenizer

    source = marian_folder(tmp_path / "model", ("en", "de"))
    theirs = MarianTokenizer.from_pretrained(source)
    taken(tmp_path, source, None)
    tokenizer = Tokenizer(tmp_path / "store" / "translation" / "original")
    examples = [Example(*pair) for pair in SENTENCES]

    pairs = TrainingSet(examples, tokenizer, "", Limits(80, 80))

    for index, example in enumerate(examples):
        assert pairs[index].source == theirs(example.source).input_ids
        assert pairs[index].target == theirs(text_target=example.target).input_ids


def test_one_line_warns_if_the_model_does_not_confirm_its_languages(tmp_path: Path) -> None:
    path = tiny_model_folder(Family.T5, tmp_path / "t5") / "config.json"
    task = {"task_specific_params": {"translation_en_to_ro": {"prefix": "translate English to Romanian: "}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | task))

    stated = imported(tmp_path, tmp_path / "t5", "--language", "fr", "--language", "en")
    known = imported(tmp_path, tmp_path / "t5", "--language", "en", "--language", "ro", "--name", "known")

    assert stated.json["languages"] == ["fr", "en"]
    assert stated.error.splitlines()[-1] == (
        "Languages fr to en are recorded as stated: a t5 learns them from the prefix of its inputs alone, and its "
        "configuration has prefixes for en to ro only."
    )
    assert known.json["generation"]["prefix"] == "translate English to Romanian: "


def taken(tmp_path: Path, source: Path, languages: list[str] | None) -> Manifest:
    return tiny_import(tmp_path, source, languages=languages).store.manifest(TASK, "original")


def test_a_name_is_no_language_code(tmp_path: Path) -> None:
    tiny_model_folder(Family.T5, tmp_path / "t5")

    named = imported(tmp_path, tmp_path / "t5", "--language", "english", "--language", "de")

    assert named.code == 1
    assert named.error.strip() == "error: --language english is not a language code, such as en, deu or pt-BR"
