"""Trimming the vocabulary: texts read as before, and the logits of the remaining ids stay the same."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.from_nothing.tokenizer_maker import texts_of
from slimseq.compression.importing.language_tokens import LanguageTokens, language_codes, read_language_tokens
from slimseq.compression.models import load_model
from slimseq.compression.prune.trimmed_tokenizer import trim_tokenizer
from slimseq.compression.prune.vocabulary import keep_languages, plan_vocabulary, trim_model
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.mbart import MBart
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from tests.app.serving.artifacts import manifest as some_manifest
from tests.compression.language_models import m2m100_folder, marian_folder, mbart_folder
from tests.compression.tiny import EXAMPLES, PREFIX, tiny_context, tiny_import, tiny_model, tiny_tokenizer
from tests.families import Family

CORPUS = list(texts_of(EXAMPLES[:8], PREFIX))
NEVER_SEEN = ["Quick zebras, jump! 1234 ΩΩ ½ €", "", "   ", "naïve\tcafé\n\nüber 🦊"]


def trimmed(
    family: Family, folder: Path, limit: int = 0, **changes: bool
) -> tuple[PreTrainedModel, Path, PreTrainedModel, Path, list[int]]:
    """Returns a model, its tokenizer's folder, both trimmed to the corpus, and the old ids of the tokens that stay."""
    tokenizer = tiny_tokenizer(family, folder / "full")
    model = tiny_model(family, tokenizer, **changes)
    kept = plan_vocabulary(model, tokenizer, CORPUS, limit, tiny_context(folder))
    trim_tokenizer(tokenizer, folder / "small", kept)
    return model, tokenizer, trim_model(model, kept), folder / "small", kept


def ids(folder: Path, text: str) -> list[int]:
    return Tokenizer(folder).encode(text, 10_000).ids


@pytest.mark.parametrize("family", list(Family))
def test_any_text_reads_as_with_the_full_tokenizer_and_the_corpus_in_the_same_pieces(
    tmp_path: Path, family: Family
) -> None:
    _, full, _, small, kept = trimmed(family, tmp_path)

    for text in CORPUS:
        assert [kept[token] for token in ids(small, text)] == ids(full, text)
    for text in [*CORPUS, *NEVER_SEEN]:
        assert Tokenizer(small).decode(ids(small, text)) == Tokenizer(full).decode(ids(full, text))
    assert len(kept) < len(json.loads((full / "tokenizer.json").read_text())["model"]["vocab"])


@pytest.mark.parametrize("family", list(Family))
def test_the_rarest_go_first_and_the_corpus_still_reads_the_same(tmp_path: Path, family: Family) -> None:
    _, _, _, _, needed = trimmed(family, tmp_path / "needed")

    limit = len(needed) - 20
    _, full, _, small, kept = trimmed(family, tmp_path / "limited", limit)

    assert len(kept) == limit
    assert set(kept) < set(needed)
    for text in CORPUS:
        assert Tokenizer(small).decode(ids(small, text)) == Tokenizer(full).decode(ids(full, text))


@pytest.mark.parametrize("family", list(Family))
def test_transformers_and_the_store_read_the_same_ids_from_a_trimmed_folder(tmp_path: Path, family: Family) -> None:
    _, _, model, small, _ = trimmed(family, tmp_path)
    write_model(model, small)

    theirs = AutoTokenizer.from_pretrained(small)

    for text in [*CORPUS, *NEVER_SEEN]:
        assert theirs(text).input_ids == ids(small, text)
    assert len(theirs) == model.config.vocab_size
    configuration = read_configuration(small)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (configuration.eos_id, configuration.pad_id)
    assert configuration.vocabulary == model.config.vocab_size


def test_the_files_that_slow_classes_read_are_trimmed_or_removed(tmp_path: Path) -> None:
    full = tiny_tokenizer(Family.T5, tmp_path / "spiece")
    (full / "spiece.model").write_bytes(b"the full one")
    kept = plan_vocabulary(tiny_model(Family.T5, full), full, CORPUS, 0, tiny_context(tmp_path))

    trim_tokenizer(full, tmp_path / "t5", kept)
    _, _, model, small, _ = trimmed(Family.BART, tmp_path)
    vocabulary = json.loads((small / "vocab.json").read_text())
    merges = [line for line in (small / "merges.txt").read_text().splitlines() if not line.startswith("#")]

    assert not (tmp_path / "t5" / "spiece.model").exists()
    assert len(vocabulary) == model.config.vocab_size
    assert merges == [
        " ".join(merge) for merge in json.loads((small / "tokenizer.json").read_text())["model"]["merges"]
    ]


@pytest.mark.parametrize(("family", "changes"), [(Family.T5, {}), (Family.T5, {"is_tied": False}), (Family.BART, {})])
def test_logits_are_those_of_the_full_model_at_the_ids_that_stay(
    tmp_path: Path, family: Family, changes: dict[str, bool]
) -> None:
    model, full, smaller, small, kept = trimmed(family, tmp_path, **changes)
    text = CORPUS[0]

    with torch.no_grad():
        before = torch.tensor([ids(full, text)])
        after = torch.tensor([ids(small, text)])
        whole = model(input_ids=before, decoder_input_ids=before).logits
        part = smaller(input_ids=after, decoder_input_ids=after).logits

    torch.testing.assert_close(part, whole[:, :, kept])
    removed = (model.config.vocab_size - len(kept)) * model.config.d_model
    assert model.num_parameters() - smaller.num_parameters() == removed * (1 if changes.get("is_tied", True) else 2)


def test_special_ids_are_renumbered_everywhere(tmp_path: Path) -> None:
    full = tiny_tokenizer(Family.BART, tmp_path / "full")
    model = tiny_model(Family.BART, full)
    assert model.generation_config is not None
    dropped, end = 5, 300
    for owner in (model.config, model.generation_config):
        vars(owner)["eos_token_id"] = [2, end]
    model.config.forced_eos_token_id = model.generation_config.forced_eos_token_id = end
    model.generation_config.bad_words_ids = [[end], [dropped, end]]
    model.generation_config.suppress_tokens = [end]
    kept = [0, 1, 2, 3, 4, 10, 11, end]

    smaller = trim_model(model, kept)
    assert smaller.generation_config is not None

    assert (smaller.config.vocab_size, smaller.config.pad_token_id, smaller.config.forced_eos_token_id) == (8, 1, 7)
    assert smaller.config.eos_token_id == [2, 7]
    assert smaller.generation_config.eos_token_id == [2, 7]
    assert smaller.generation_config.forced_eos_token_id == 7
    assert smaller.generation_config.bad_words_ids == [[7]]
    assert smaller.generation_config.suppress_tokens == [7]
    assert model.generation_config.forced_eos_token_id == end


def test_sentinels_stay_only_if_they_are_used(tmp_path: Path) -> None:
    full = tiny_tokenizer(Family.T5, tmp_path / "full")
    model = tiny_model(Family.T5, full)
    texts = [*CORPUS, "A <extra_id_2> B"]

    kept = plan_vocabulary(model, full, texts, 0, tiny_context(tmp_path))
    trim_tokenizer(full, tmp_path / "small", kept)
    write_model(trim_model(model, kept), tmp_path / "small")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "small")

    assert [token for token in theirs.get_vocab() if token.startswith("<extra_id_")] == ["<extra_id_2>"]
    assert theirs(texts[-1]).input_ids == ids(tmp_path / "small", texts[-1])


def test_a_vocabulary_without_room_for_what_must_stay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameters, match="--vocabulary 20 is below the"):
        trimmed(Family.T5, tmp_path, 20)


@pytest.mark.parametrize("kind", ["mbart", "mbart50"])
def test_every_language_token_of_an_mbart_stays(tmp_path: Path, kind: str) -> None:
    folder, context = mbart_folder(tmp_path / kind, kind), tiny_context(tmp_path)
    model, pattern = load_model(folder), MBart.language_token
    kept = plan_vocabulary(model, folder, ["The train leaves at nine."], 0, context)
    trim_tokenizer(folder, tmp_path / "small", kept)
    write_model(trim_model(model, kept), tmp_path / "small")

    codes = language_codes(tmp_path / "small", pattern)
    said = read_language_tokens(tmp_path / "small", tmp_path / "small")

    assert len(kept) < model.config.vocab_size
    assert codes == language_codes(folder, pattern)
    assert len(codes) > 20
    assert said == LanguageTokens("en_XX", "de_DE")


def pruned_languages(tmp_path: Path, languages: str, *unlabelled: str) -> Context:
    """A store with a tiny NLLB, and what is left of it for some languages as `few`."""
    source, limits = m2m100_folder(tmp_path / "model"), {"max_input_tokens": 38, "max_new_tokens": 12}
    context = tiny_import(tmp_path, source, Task.TRANSLATION, languages=["en", "de"], export=True, **limits)
    prune = technique_named("prune")
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps({"source": each.source, "target": each.target}) + "\n" for each in EXAMPLES[:3]))
    data = DataFiles([str(rows)], unlabelled=unlabelled)
    words = {"languages": languages, "feed_forward": 1.0, "max_steps": 0}
    prune.apply(Job(context, Task.TRANSLATION, "original", "few", data), prune.read(words))
    return context


def test_an_nllb_keeps_the_tokens_of_some_languages_and_translates_between_them(tmp_path: Path) -> None:
    french = tmp_path / "french.txt"
    french.write_text("Le petit chat dort sur la pierre chaude pendant que nous mangeons.\n", encoding="utf-8")

    context = pruned_languages(tmp_path, "en,deu_Latn,fr", str(french))

    whole, few = (context.store.manifest(Task.TRANSLATION, name) for name in ("original", "few"))
    assert list(few.generation.language_tokens.values()) == ["deu_Latn", "eng_Latn", "fra_Latn"]
    assert few.size.parameters < whole.size.parameters
    found = []
    for manifest in (whole, few):
        with open_generator(context.store, Task.TRANSLATION, manifest.variant, "onnxruntime", threads=1) as generator:
            tokenizer = Tokenizer(context.store.folder(Task.TRANSLATION, manifest.variant))
            pieces = {number: token for token, number in tokenizer.vocabulary.items()}
            rows = [
                plan(generator, Prompt([text], source=source, target=target), 4).rows[0].ids
                for text, source, target in (
                    (EXAMPLES[0].source, "en", "fr"),
                    (french.read_text().strip(), "fra", "de"),
                    (EXAMPLES[0].target, "de", "en"),
                )
            ]
            found.append([[pieces[number] for number in row] for row in rows])
            if manifest is few:
                with pytest.raises(UnsupportedLanguages, match="whose targets are de, en, fr"):
                    plan(generator, Prompt(["No."], target="es"), 4)
    assert found[0] == found[1]
    assert AutoTokenizer.from_pretrained(context.store.folder(Task.TRANSLATION, "few"))(EXAMPLES[0].source).input_ids


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        ("en,de,fr", "--languages: no text of the data is in French; add some with --data or --unlabelled"),
        ("en,de,tlh", "--languages: original has no 'tlh'; it has ace_Arab, ace, "),
        ("en,fr", "--languages must have de, which original translates by default"),
    ],
)
def test_languages_without_texts_or_without_the_own_pair_are_refused(
    tmp_path: Path, languages: str, words: str
) -> None:
    with pytest.raises(BadParameters, match=words):
        pruned_languages(tmp_path, languages)


def test_a_model_of_one_pair_has_no_languages_to_remove() -> None:
    with pytest.raises(BadParameters, match="--languages: original has no others than en to de; --vocabulary removes"):
        keep_languages(some_manifest(), "en,de")


def test_every_target_token_of_a_marian_stays(tmp_path: Path) -> None:
    source = marian_folder(tmp_path / "model", ("en", "gmw"), ["deu", "nld"])
    context = tiny_import(tmp_path, source, languages=["en", "deu"])
    folder = context.store.folder(Task.TRANSLATION, "original")
    model = load_model(folder)

    kept = plan_vocabulary(model, folder, ["The train leaves at nine."], 0, context)
    trim_tokenizer(folder, tmp_path / "small", kept)

    assert len(kept) < model.config.vocab_size
    for token in (">>deu<<", ">>nld<<"):
        place = Tokenizer(tmp_path / "small").id_of(token)
        assert place is not None
        assert kept[place] == Tokenizer(folder).id_of(token)
