"""Tiny models of BART's and T5's relatives, with the files that hubs have of them."""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100_CODES
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as MBART_CODES
from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART_50_CODES
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB_CODES

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.from_nothing.tokenizer_maker import tokenizer_size
from slimseq.compression.importing.sentencepiece_tokenizers import write_fast_m2m100_tokenizer
from tests.compression.tiny import SENTENCES, tiny_tokenizer
from tests.families import Family
from tests.inference.graphs.test_related_models import BART_SHAPE, RELATED

CODES = {"mbart": MBART_CODES, "mbart50": MBART_50_CODES}
CLASSES = {"mbart": "MBartTokenizer", "mbart50": "MBart50Tokenizer"}
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
WORDS = sorted({word for pair in SENTENCES for text in pair for word in text.split()})


def mbart_folder(
    folder: Path, kind: str = "mbart", source: str = "en_XX", target: str | None = "de_DE", more: Sequence[str] = ()
) -> Path:
    """Writes an mBART (`mbart`: the source's token behind a text) or mBART-50 (`mbart50`: before it).

    Its decoder begins with the target's token where there is one; `more` are language tokens beside those of the hub.
    """
    codes = [*CODES[kind], *more]
    pieces = [*SPECIALS, *(f"▁{word}" for word in WORDS)]
    pieces += sorted({letter for word in WORDS for letter in word} | {"▁"})
    # As converters of transformers leave them: pieces of the vocabulary that are special tokens too.
    pieces += [*codes, "<mask>"]
    fast = Tokenizer(Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], unk_id=3))
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.decoder = decoders.Metaspace(prepend_scheme="always")
    specials = [*SPECIALS, *codes, "<mask>"]
    fast.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    number = fast.token_to_id
    single = f"$A </s> {source}" if kind == "mbart" else f"{source} $A </s>"
    fast.post_processor = processors.TemplateProcessing(
        single=single,
        pair=single.replace("$A", "$A $B"),
        special_tokens=[("</s>", number("</s>")), (source, number(source))],
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save(str(folder / "tokenizer.json"))
    named = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIALS, strict=True))
    config = named | {
        "mask_token": "<mask>",
        "tokenizer_class": CLASSES[kind],
        "src_lang": source,
        "tgt_lang": None,
        "additional_special_tokens": codes,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    starts: dict[str, Any] = {"decoder_start_token_id": number("</s>")}
    if target is not None:
        starts |= {"decoder_start_token_id" if kind == "mbart" else "forced_bos_token_id": number(target)}
    shape = BART_SHAPE | {"vocab_size": fast.get_vocab_size(), "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    model = random_model("mBART", shape | starts, may_pad=True)
    for name, value in starts.items():
        setattr(model.generation_config, name, value)
    write_model(model, folder)
    return folder


def marian_folder(folder: Path, pair: tuple[str, str] | None, targets: Sequence[str] = ()) -> Path:
    """Writes a Marian whose tokenizer names a pair of languages, or none, and where a first token chooses a target."""
    tokens = marian_tokenizer(folder, zip(*SENTENCES, strict=True), targets, vocab_size=120, hard_vocab_limit=False)
    if pair is not None:
        config = {"source_lang": pair[0], "target_lang": pair[1]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    specials = {"pad_token_id": tokens["<pad>"], "eos_token_id": 0, "decoder_start_token_id": tokens["<pad>"]}
    shape = BART_SHAPE | {"vocab_size": len(tokens), "activation_function": "swish"} | specials
    model = random_model("Marian", shape, may_pad=True)
    assert model.generation_config is not None
    model.generation_config.bad_words_ids = [[tokens["<pad>"]]]
    model.generation_config.forced_eos_token_id = 0
    write_model(model, folder)
    return folder


def marian_tokenizer(
    folder: Path, sides: Iterable[Iterable[str]], targets: Sequence[str] = (), **options: Any
) -> dict[str, int]:
    """Writes SentencePiece models of the texts of two sides and their vocabulary, which it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = {"</s>": 0, "<unk>": 1}
    for name, texts in zip(("source", "target"), sides, strict=True):
        (folder / f"{name}.spm").write_bytes(trained(texts, **options))
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.spm"))
        for place in range(3, pieces.piece_size()):
            tokens.setdefault(pieces.id_to_piece(place), len(tokens))
    for token in (*(f">>{language}<<" for language in targets), "<pad>"):
        tokens[token] = len(tokens)
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    return tokens


def trained(texts: Iterable[str], **options: Any) -> bytes:
    """Returns a SentencePiece model of texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, minloglevel=2, **options
    )
    return model.getvalue()


def m2m100_folder(folder: Path, kind: str = "nllb") -> Path:
    """Writes an M2M100 or NLLB with a trained SentencePiece model, random weights, and the files that the hub has.

    `m2m100` has a `vocab.json`, `nllb` a `tokenizer.json` whose template is the old one, and `nllb-slow` neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(trained((text for pair in SENTENCES for text in pair), model_type="bpe", vocab_size=300))
    config: dict[str, Any] = {"tokenizer_class": "NllbTokenizer"}
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    size = len(SPECIALS) + pieces.piece_size() - 3 + len(NLLB_CODES) + 1
    if kind == "m2m100":
        # Its ids are those of another order.
        tokens = [*SPECIALS, *reversed([pieces.id_to_piece(place) for place in range(3, pieces.piece_size())])]
        vocabulary = json.dumps({token: place for place, token in enumerate(tokens)}, ensure_ascii=False)
        (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
        config = {"tokenizer_class": "M2M100Tokenizer"}
        size = len(tokens) + len(M2M100_CODES["m2m100"]) + 8
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    shape = BART_SHAPE | {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    model = random_model("M2M100 and NLLB", shape | {"activation_function": "relu"})
    write_model(model, folder)
    if kind == "nllb":
        made = folder / "tokenizer.json"
        write_fast_m2m100_tokenizer(folder, folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = json.loads(made.read_text())
        for template in (tokenizer["post_processor"]["single"], tokenizer["post_processor"]["pair"]):
            template.append(template.pop(0))
        made.write_text(json.dumps(tokenizer))
    return folder


def related_folder(name: str, folder: Path, seed: int = 1) -> Path:
    """Writes a random mT5, umT5 or PEGASUS whose outputs differ by input."""
    family = Family.BART if name == "PEGASUS" else Family.T5
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    specials = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0} if family is Family.T5 else {}
    shape = RELATED[name][2] | {"vocab_size": tokenizer_size(tokenizer)} | specials
    model = random_model(name, shape, seed=seed)
    if name == "PEGASUS":
        model.generation_config.forced_eos_token_id, model.generation_config.decoder_start_token_id = 2, 1
    write_model(model, folder / "model")
    copy_tokenizer(tokenizer, folder / "model")
    return folder / "model"


def random_model(name: str, shape: dict[str, Any], seed: int = 3, *, may_pad: bool = False) -> Any:
    """A relative of T5 or BART whose outputs differ by input."""
    kind, configuration, _ = RELATED[name]
    torch.manual_seed(seed)
    model = kind(configuration(**shape))
    spread(model, may_pad)
    return model


def spread(model: Any, may_pad: bool = False) -> None:
    """Makes a random model's outputs differ by input. No trained one generates padding, which runtimes cut off."""
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.2)
        if not may_pad:
            model.get_output_embeddings().weight[model.config.pad_token_id] = 0
    model.eval()
