"""Converts the tokenizer of an M2M100, or of an NLLB without `tokenizer.json`, which have a SentencePiece model of BPE.

transformers has no fast tokenizer for M2M100. M2M100's ids are those of `vocab.json`, NLLB's those of SentencePiece
plus one. The tokens of languages follow, in transformers' order.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from tokenizers.models import BPE

from slimseq.compression.importing.marian_tokenizer import END, UNKNOWN, VOCABULARY, fast_tokenizer, read_pieces
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.inference.models.m2m100 import M2M100
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_json

SENTENCEPIECE = "sentencepiece.bpe.model"
START, PADDING, MASK = "<s>", "<pad>", "<mask>"
SPECIALS = (START, PADDING, END, UNKNOWN)
# Pieces of SentencePiece before those of texts: the unknown one, start and end.
CONTROL_PIECES = 3


def is_m2m100_tokenizer(folder: Path) -> bool:
    """Whether a folder has the tokenizer of an M2M100 or NLLB and no fast tokenizer."""
    return (folder / SENTENCEPIECE).exists() and isinstance(family_of(folder), M2M100)


def write_fast_m2m100_tokenizer(source: Path, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, or raises BadSource for a file that is of another kind."""
    model = read_pieces(source / SENTENCEPIECE, "BPE")
    pieces = [piece.piece for piece in model.pieces[CONTROL_PIECES:]]
    config = source / "tokenizer_config.json"
    said: dict[str, Any] = read_json(config) if config.exists() else {}
    if (source / VOCABULARY).exists():
        ids: dict[str, int] = read_json(source / VOCABULARY)
        codes = _language_codes("m2m_100")[said.get("language_codes", "m2m100")]
        languages, mark = [f"__{code}__" for code in codes], f"__{said.get('src_lang') or 'en'}__"
    else:
        ids = {token: place for place, token in enumerate((*SPECIALS, *pieces))}
        languages, mark = [*_language_codes("nllb"), MASK], said.get("src_lang") or "eng_Latn"
    if missing := [token for token in SPECIALS if token not in ids]:
        raise BadSource(f"{source.name}: {VOCABULARY} has no {' and no '.join(missing)}")
    # A piece is merged from any two pieces that it consists of, pieces of a higher score first.
    known = {piece for piece in pieces if piece in ids}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted(known, key={each.piece: -each.score for each in model.pieces}.__getitem__)
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    pairs = BPE(ids, merges, unk_token=UNKNOWN, fuse_unk=True)
    fast = fast_tokenizer(pairs, model, [*SPECIALS, *languages], f"{mark} $A {END}")
    fast.save(str(folder / "tokenizer.json"))
    named = {"bos_token": START, "eos_token": END, "pad_token": PADDING, "unk_token": UNKNOWN}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def _language_codes(module: str) -> Any:
    return import_module(f"transformers.models.{module}.tokenization_{module}").FAIRSEQ_LANGUAGE_CODES
