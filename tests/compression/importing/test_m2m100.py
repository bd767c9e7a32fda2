"""M2M100, NLLB and MADLAD-400 come in with every language: ids are SentencePiece's, and a request chooses the pair."""

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.importing.sentencepiece_tokenizers import write_fast_m2m100_tokenizer
from slimseq.compression.train.data.training_data import Limits, TrainingSet
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.load import load
from slimseq.inference.models.pretrained import untie_output
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt, run_all
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource, InvalidArtifact
from slimseq.models_store.manifest import Task
from tests.compression.language_models import m2m100_folder
from tests.compression.tiny import SENTENCES, tiny_import, tiny_tokenizer
from tests.families import Family
from tests.inference.engine.test_engine import run_to_end
from tests.inference.graphs.stepwise import randomized
from tests.inference.graphs.test_related_models import RELATED

TASK = Task.TRANSLATION
TEXTS = [
    *(text for pair in SENTENCES for text in pair),
    "Ein \ufb01nes  \uff26\uff35\uff2c\uff2c \u2026 \u9f8d\u9f9c!",
    "",
]
SOURCE = {"m2m100": "__en__", "nllb": "eng_Latn", "nllb-slow": "eng_Latn"}


def imported(tmp_path: Path, kind: str = "nllb", *, export: bool = True) -> Context:
    source, limits = m2m100_folder(tmp_path / kind, kind), {"max_input_tokens": 38, "max_new_tokens": 12}
    return tiny_import(tmp_path, source, TASK, languages=["en", "de"], export=export, **limits)


@pytest.mark.parametrize("kind", list(SOURCE))
def test_ids_are_those_of_sentencepiece_between_the_language_and_the_end(tmp_path: Path, kind: str) -> None:
    context = imported(tmp_path, kind, export=False)
    folder = context.store.folder(TASK, "original")
    tokenizer = Tokenizer(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / kind / "sentencepiece.bpe.model"))
    unknown = tokenizer.id_of("<unk>")

    for text in TEXTS:
        own = [tokenizer.id_of(piece) or unknown for piece in pieces.encode(text, out_type=str)]
        wanted = [tokenizer.id_of(SOURCE[kind]), *own, tokenizer.id_of("</s>")]
        assert tokenizer.encode(text, 200).ids == wanted
        assert AutoTokenizer.from_pretrained(folder)(text).input_ids == wanted
    if kind != "m2m100":
        assert [tokenizer.id_of(piece) for piece in pieces.encode(TEXTS[0], out_type=str)] == [
            number + 1 for number in pieces.encode(TEXTS[0])
        ]
    assert tokenizer.decode(tokenizer.encode(TEXTS[0], 200).ids) == TEXTS[0]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("vocab.json", {"<s>": 0, "</s>": 1}, "vocab.json has no <pad> and no <unk>"),
        ("vocab.json", ["<s>"], "vocab.json is not a JSON object"),
        ("tokenizer_config.json", {"language_codes": "mine"}, "the language_codes 'mine'; known are m2m100, wmt21"),
        ("tokenizer_config.json", {"language_codes": []}, "the language_codes "),
        ("tokenizer_config.json", [], "tokenizer_config.json is not a JSON object"),
    ],
)
def test_a_tokenizer_that_cannot_be_converted_is_refused(
    tmp_path: Path, name: str, content: object, complaint: str
) -> None:
    source = m2m100_folder(tmp_path / "m2m100", "m2m100")
    (source / name).write_text(json.dumps(content))

    with pytest.raises((BadSource, InvalidArtifact), match=complaint):
        write_fast_m2m100_tokenizer(source, tmp_path)

    assert not (tmp_path / "tokenizer.json").exists()


def test_training_targets_begin_with_the_target_language(tmp_path: Path) -> None:
    tokenizer = Tokenizer(imported(tmp_path, export=False).store.folder(TASK, "original"))

    pair = TrainingSet([Example(*SENTENCES[0])], tokenizer, "", Limits(40, 40))[0]

    assert (pair.source[0], pair.target[0]) == (tokenizer.id_of("eng_Latn"), tokenizer.id_of("deu_Latn"))


PAIRS = [("en", "de"), ("de", "fra_Latn"), ("eng-Latn", "zh"), ("fra", "zh_Hant"), (None, "azj_Latn"), ("ar", None)]


def tokens_of(generator: TextGenerator, source: str | None, target: str | None, **options: object) -> list[list[int]]:
    planned = plan(generator, Prompt([SENTENCES[1][0]], dict(options), source=source, target=target), 8)
    return [each.ids for each in generator.runtime.generate([row.ids for row in planned.rows], planned.options)]


@pytest.mark.parametrize("kind", ["nllb", "m2m100"])
def test_a_request_chooses_source_and_target(tmp_path: Path, kind: str) -> None:
    context = imported(tmp_path, kind)
    add_ctranslate2(context, TASK, "original")
    folder = context.store.folder(TASK, "original")
    tokenizer, reference = Tokenizer(folder), AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    tokens = context.store.manifest(TASK, "original").generation.language_tokens
    pairs = PAIRS if kind == "nllb" else [("de", "fr"), ("en", "__zh__")]

    for runtime in ("onnxruntime", "torch", "ctranslate2"):
        with open_generator(context.store, TASK, "original", runtime, threads=1) as generator:
            for source, target in pairs:
                planned = plan(generator, Prompt([SENTENCES[1][0]], source=source, target=target), 8)
                first, second = planned.manifest.languages
                [row] = planned.rows
                assert row.ids[0] == tokenizer.id_of(tokens[first])
                for beams in (1, 4):
                    wanted = reference.generate(
                        torch.tensor([row.ids]),
                        forced_bos_token_id=tokenizer.id_of(tokens[second]),
                        num_beams=beams,
                        max_new_tokens=12,
                    )
                    found = tokens_of(generator, source, target, num_beams=beams)
                    assert found == [wanted[0].tolist()[1:]], (runtime, source, target)


def test_pairs_share_batches_and_passes(tmp_path: Path) -> None:
    context = imported(tmp_path)
    text = "We walked 12 km along the river until it was dark."

    with open_generator(context.store, TASK, "original", "onnxruntime", threads=1) as generator:
        alone = [tokens_of(generator, source, target, num_beams=2) for source, target in PAIRS]
        engine = generator.engine()
        assert engine is not None
        planned = [
            plan(generator, Prompt([SENTENCES[1][0]], {"num_beams": 2}, source=source, target=target), 8)
            for source, target in PAIRS
        ]
        # Static batches are of rows with equal options.
        assert planned[1].options != planned[2].options == planned[2].options.model_copy()
        keys = [engine.add(each.rows[0].ids, each.options) for each in planned]
        ended = run_to_end(engine)
        sampled = [
            tokens_of(generator, "en", target, do_sample=True, seed=1, num_beams=1)[0][0] for target in ("fr", "de")
        ]
        passes = plan(generator, Prompt([text], source="de", target="fr"), 8)
        outputs = run_all(generator, passes, 8).in_order

    assert [[ended[key].ids] for key in keys] == alone
    assert len({ids[0][0] for ids in alone}) == len({target or "de" for _, target in PAIRS})
    tokenizer = Tokenizer(context.store.folder(TASK, "original"))
    assert sampled == [tokenizer.id_of("fra_Latn"), tokenizer.id_of("deu_Latn")]
    assert outputs
    assert passes.passes


def test_the_python_api_takes_languages_and_names_what_it_lacks(tmp_path: Path) -> None:
    context = imported(tmp_path)
    folder = context.store.folder(TASK, "original")

    with load(folder, threads=1) as model:
        german, french = (model.generate([TEXTS[0]], target=target)[0] for target in ("de", "fr"))
        streamed = "".join(model.stream(TEXTS[0], target="fra_Latn", num_beams=1))
        with pytest.raises(UnsupportedLanguages, match=r"target: 'tlh' is not supported by .*, whose targets are de, "):
            model.generate(["No."], target="tlh")
        with pytest.raises(UnsupportedLanguages, match="source and target are both de"):
            model.generate(["No."], source="deu_Latn")

        default = model.generate([TEXTS[0]])[0]
        assert german == default
        assert german.mean_log_probability == default.mean_log_probability
        assert german.mean_log_probability != french.mean_log_probability
        assert streamed == model.generate([TEXTS[0]], target="fr", num_beams=1)[0].text


def test_madlad_chooses_its_target_by_a_token_in_the_text(tmp_path: Path) -> None:
    source = tiny_tokenizer(Family.T5, tmp_path / "madlad")
    tokenizer = FastTokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(f"<2{code}>", normalized=False) for code in ("en", "de", "fr")])
    tokenizer.save(str(source / "tokenizer.json"))
    shape = RELATED["mT5 as its hub has it, untied"][2] | {"vocab_size": tokenizer.get_vocab_size()}
    torch.manual_seed(1)
    model = T5ForConditionalGeneration(T5Config(**shape | {"decoder_start_token_id": 0}))
    untie_output(model)
    write_model(randomized(model.bfloat16()).float(), source)
    # As in the file of google/madlad400-3b-mt.
    tensors = load_file(source / "model.safetensors")
    tensors["decoder.embed_tokens.weight"] = tensors.pop("shared.weight")
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})

    context = tiny_import(tmp_path, source, languages=["en", "de"], max_new_tokens=12, export=True)

    manifest = context.store.manifest(TASK, "original")
    assert (manifest.generation.prefix, manifest.languages) == ("<2de> ", ["en", "de"])
    with open_generator(context.store, TASK, "original", "onnxruntime", threads=1) as generator:
        rows = [
            plan(generator, Prompt([SENTENCES[0][0]], target=target), 4).rows[0].ids for target in (None, "fra", "de")
        ]
        number = Tokenizer(context.store.folder(TASK, "original")).id_of
        assert [row[0] for row in rows] == [number("<2de>"), number("<2fr>"), number("<2de>")]
        assert rows[0][1:] == rows[1][1:]
        found = generator.runtime.generate(rows[:2], manifest.generation.options(num_beams=1))
    for row, each in zip(rows, found, strict=False):
        assert each.ids == model.generate(torch.tensor([row]), num_beams=1, max_new_tokens=12)[0].tolist()[1:]
