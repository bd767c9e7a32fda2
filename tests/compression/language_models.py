"""Tiny models of BART's and T5's relatives, with the files that hubs have of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
)
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100_CODES
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as MBART_CODES
from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART_50_CODES
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB_CODES

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.importing.m2m100_tokenizer import write_fast_m2m100_tokenizer
from slimseq.compression.train.tokenizer_maker import tokenizer_size
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

    Args:
        folder: where to write.
        kind: `mbart` or `mbart50`.
        source: whose token the tokenizer's template has.
        target: whose token the decoder begins with; None for a model that says none.
        more: language tokens beside those of the hub's models.
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
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    config = named | {
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
    torch.manual_seed(3)
    model = MBartForConditionalGeneration(MBartConfig(**(shape | starts)))
    spread(model, may_pad=True)
    for name, value in starts.items():
        setattr(model.generation_config, name, value)
    write_model(model, folder)
    return folder


def marian_folder(folder: Path, pair: tuple[str, str] | None, targets: Sequence[str] = ()) -> Path:
    """Writes a Marian with two SentencePiece models.

    Args:
        folder: where to write.
        pair: what its tokenizer's configuration says of its languages; None for nothing.
        targets: languages that a text's first token chooses among.
    """
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    tokens = {"</s>": 0, "<unk>": 1}
    for side, name in enumerate(("source", "target")):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([texts[side] for texts in SENTENCES]),
            model_prefix=str(folder / name),
            vocab_size=120,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{name}.vocab").unlink()
        (folder / f"{name}.model").rename(folder / f"{name}.spm")
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.spm"))
        for place in range(3, pieces.piece_size()):
            tokens.setdefault(pieces.id_to_piece(place), len(tokens))
    for language in targets:
        tokens[f">>{language}<<"] = len(tokens)
    tokens["<pad>"] = len(tokens)
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    if pair is not None:
        config = {"source_lang": pair[0], "target_lang": pair[1]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    specials = {"pad_token_id": tokens["<pad>"], "eos_token_id": 0, "decoder_start_token_id": tokens["<pad>"]}
    shape = BART_SHAPE | {"vocab_size": len(tokens), "activation_function": "swish"} | specials
    torch.manual_seed(3)
    model = MarianMTModel(MarianConfig(**shape))
    spread(model, may_pad=True)
    assert model.generation_config is not None
    model.generation_config.bad_words_ids = [[tokens["<pad>"]]]
    model.generation_config.forced_eos_token_id = 0
    write_model(model, folder)
    return folder


def m2m100_folder(folder: Path, kind: str = "nllb") -> Path:
    """Writes an M2M100 or NLLB with a trained SentencePiece model, random weights, and the files that the hub has.

    Args:
        folder: where to write.
        kind: `m2m100` (with `vocab.json`), `nllb` (with a `tokenizer.json` whose template is the old one, as on the
            hub), or `nllb-slow` (with neither).
    """
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    texts = [text for pair in SENTENCES for text in pair]
    prefix = folder / "sentencepiece.bpe"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(prefix), model_type="bpe", vocab_size=300, minloglevel=2
    )
    (folder / "sentencepiece.bpe.vocab").unlink()
    config: dict[str, Any] = {"tokenizer_class": "NllbTokenizer"}
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
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
    torch.manual_seed(3)
    model = M2M100ForConditionalGeneration(M2M100Config(**(shape | {"activation_function": "relu"})))
    spread(model)
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


def related_folder(name: str, folder: Path) -> Path:
    """Writes a random mT5, umT5 or PEGASUS whose outputs differ by input."""
    kind, configuration, switches = RELATED[name]
    family = Family.BART if name == "PEGASUS" else Family.T5
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    specials = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0} if family is Family.T5 else {}
    torch.manual_seed(1)
    model = kind(configuration(**(switches | {"vocab_size": tokenizer_size(tokenizer)} | specials)))
    spread(model)
    if name == "PEGASUS":
        model.generation_config.forced_eos_token_id, model.generation_config.decoder_start_token_id = 2, 1
    write_model(model, folder / "model")
    copy_tokenizer(tokenizer, folder / "model")
    return folder / "model"


def spread(model: Any, may_pad: bool = False) -> None:
    """Makes a random model's outputs differ by input. No trained one generates padding, which runtimes cut off."""
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.2)
        if not may_pad:
            model.get_output_embeddings().weight[model.config.pad_token_id] = 0
    model.eval()
