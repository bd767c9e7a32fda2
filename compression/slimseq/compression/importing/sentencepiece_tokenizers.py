"""Converts SentencePiece models to a `tokenizer.json` where transformers has no fast tokenizer: of Marian and M2M100.

A Marian has two SentencePiece models, for sources and for targets, and one vocabulary with the pieces of both. In
`tokenizer.json` the pieces of the target model have a very low score, so that sources use them only if nothing else
fits. A second file is for targets, in training. SentencePiece's unigram segmentation is that of Kudo 2018,
https://arxiv.org/abs/1804.10959.

An M2M100, or an NLLB without `tokenizer.json`, has a model of byte pairs. M2M100's ids are those of `vocab.json`,
NLLB's those of SentencePiece plus one. The tokens of languages follow, in transformers' order.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram

from slimseq.inference.models.bounds import shown
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.inference.models.m2m100 import M2M100
from slimseq.inference.models.marian import Marian
from slimseq.inference.tokenizer import TARGET_TOKENIZER
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_json

SOURCE = "source.spm"
TARGET = "target.spm"
SENTENCEPIECE = "sentencepiece.bpe.model"
SENTENCEPIECE_MODELS = (SENTENCEPIECE, "spiece.model")
VOCABULARY = "vocab.json"
SEPARATE_VOCABULARY = "target_vocab.json"
UNKNOWN, END, PADDING = "<unk>", "</s>", "<pad>"
SPECIALS = (UNKNOWN, END, PADDING)
START, MASK = "<s>", "<mask>"
M2M100_SPECIALS = (START, PADDING, END, UNKNOWN)
# Pieces of SentencePiece before those of texts: the unknown one, start and end.
CONTROL_PIECES = 3
NEVER = -1e4
# The largest published ones have 5 MB.
MAX_BYTES = 2**26


def is_marian_tokenizer(folder: Path) -> bool:
    """Whether a folder has the tokenizer of a Marian model and no fast tokenizer."""
    return (folder / SOURCE).exists() and not (folder / "tokenizer.json").exists()


def write_fast_marian_tokenizer(source: Path, folder: Path) -> None:
    """Writes `tokenizer.json`, `tokenizer_config.json` and, where the model has `target.spm`, `target_tokenizer.json`.

    Raises:
        BadSource: a file is missing or unreadable, or of a kind that cannot be converted.
    """
    if (source / SEPARATE_VOCABULARY).exists():
        raise BadSource(f"{source.name} has one vocabulary for sources and another for targets: one is needed")
    ids: dict[str, int] = read_json(source / VOCABULARY)
    missing = [name for name in SPECIALS if name not in ids]
    if missing:
        raise BadSource(f"{source.name}: {VOCABULARY} has no {' and no '.join(missing)}")
    names = {SOURCE: "tokenizer.json"} | ({TARGET: TARGET_TOKENIZER} if (source / TARGET).exists() else {})
    made = {to: _fast(ids, read_pieces(source / name)) for name, to in names.items()}
    for name, fast in made.items():
        fast.save(str(folder / name))
    named = {"eos_token": END, "pad_token": PADDING, "unk_token": UNKNOWN}
    # transformers has no class for it.
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def write_student_tokenizer(vocabularies: Sequence[Path], folder: Path) -> list[int]:
    """Writes the same files for a Marian student, whose ids are those of SentencePiece; returns their counts.

    There is one model for both sides, or one for sources and one for targets.

    Raises:
        BadSource: a file is unreadable, of another kind, or `</s>` is not its first token.
    """
    sizes = []
    for path, name in zip(vocabularies, ("tokenizer.json", TARGET_TOKENIZER), strict=False):
        pieces = read_pieces(path)
        ids = {piece.piece: place for place, piece in enumerate(pieces.pieces)}
        if ids.get(END) != 0 or UNKNOWN not in ids or len(ids) != len(pieces.pieces):
            raise BadSource(f"{path.name} is no vocabulary of a Marian student: its first token must be {END}")
        try:
            fast = Tokenizer.from_str(_fast(ids, pieces, (UNKNOWN, END)).to_str())
        except Exception as error:  # the library raises bare Exception for everything
            raise BadSource(f"{path.name} makes no tokenizer: {error}") from error
        fast.save(str(folder / name), pretty=False)
        sizes.append(len(ids))
    named = {"eos_token": END, "pad_token": END, "unk_token": UNKNOWN}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})
    return sizes


def restore_normalizer(source: Path, folder: Path) -> None:
    """Adds the normalizer of the SentencePiece model to a converted `tokenizer.json` without one.

    transformers 5 drops it for mBART, so that ligatures and full-width letters get other pieces.

    Raises:
        BadSource: the SentencePiece model cannot be read.
    """
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    models = [source / name for name in SENTENCEPIECE_MODELS if (source / name).exists()]
    if tokenizer.normalizer is None and models:
        charsmap = read_pieces(models[0]).normalizer_spec.precompiled_charsmap
        if charsmap:
            tokenizer.normalizer = normalizers.Precompiled(charsmap)
            tokenizer.save(str(path))


def is_m2m100_tokenizer(folder: Path) -> bool:
    """Whether a folder has the tokenizer of an M2M100 or NLLB and no fast tokenizer."""
    return (folder / SENTENCEPIECE).exists() and isinstance(family_of(folder), M2M100)


def write_fast_m2m100_tokenizer(source: Path, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, or raises BadSource for a file that is of another kind."""
    model = read_pieces(source / SENTENCEPIECE, "BPE")
    pieces = [piece.piece for piece in model.pieces[CONTROL_PIECES:]]
    said = read_json(source / "tokenizer_config.json", {})
    if (source / VOCABULARY).exists():
        ids: dict[str, int] = read_json(source / VOCABULARY)
        lists, name = _language_codes("m2m_100"), said.get("language_codes", "m2m100")
        if not isinstance(name, str) or name not in lists:
            known = f"known are {', '.join(lists)}"
            raise BadSource(f"{source.name}: tokenizer_config.json names the language_codes {shown(name)}; {known}")
        codes = lists[name]
        languages, mark = [f"__{code}__" for code in codes], f"__{said.get('src_lang') or 'en'}__"
    else:
        ids = {token: place for place, token in enumerate((*M2M100_SPECIALS, *pieces))}
        languages, mark = [*_language_codes("nllb"), MASK], said.get("src_lang") or "eng_Latn"
    if missing := [token for token in M2M100_SPECIALS if token not in ids]:
        raise BadSource(f"{source.name}: {VOCABULARY} has no {' and no '.join(missing)}")
    # A piece is merged from any two pieces that it consists of, pieces of a higher score first.
    mergeable = {piece for piece in pieces if piece in ids}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted(mergeable, key={each.piece: -each.score for each in model.pieces}.__getitem__)
        for cut in range(1, len(piece))
        if piece[:cut] in mergeable and piece[cut:] in mergeable
    ]
    pairs = BPE(ids, merges, unk_token=UNKNOWN, fuse_unk=True)
    fast = fast_tokenizer(pairs, model, [*M2M100_SPECIALS, *languages], f"{mark} $A {END}")
    fast.save(str(folder / "tokenizer.json"))
    named = {"bos_token": START, "eos_token": END, "pad_token": PADDING, "unk_token": UNKNOWN}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def _language_codes(module: str) -> Any:
    return import_module(f"transformers.models.{module}.tokenization_{module}").FAIRSEQ_LANGUAGE_CODES


def _fast(ids: dict[str, int], pieces: Any, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """Returns a tokenizer of the whole vocabulary with the segmentation of one SentencePiece model."""
    scores = {piece.piece: piece.score for piece in pieces.pieces}
    vocabulary = [(f"<unused {place}>", NEVER) for place in range(max(ids.values()) + 1)]
    for token, place in ids.items():
        vocabulary[place] = (token, NEVER if token in specials else scores.get(token, NEVER))
    model = Unigram(vocabulary, unk_id=ids[UNKNOWN], byte_fallback=False)
    return fast_tokenizer(model, pieces, [*specials, *filter(Marian.target_token.fullmatch, ids)])


def fast_tokenizer(model: Any, pieces: Any, added: Sequence[str], template: str = f"$A {END}") -> Tokenizer:
    """Returns a tokenizer with a segmentation of the library and the normalization of a SentencePiece model.

    Special tokens are `added`; those that `model` lacks get the next ids. A text is put into the `template`.
    """
    fast = Tokenizer(model)
    steps = [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    charsmap = pieces.normalizer_spec.precompiled_charsmap
    if charsmap:
        steps.insert(0, normalizers.Precompiled(charsmap))
    fast.normalizer = normalizers.Sequence(steps)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.decoder = decoders.Metaspace(prepend_scheme="always")
    fast.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in added])
    marks = [(token, fast.token_to_id(token)) for token in template.split() if token != "$A"]
    fast.post_processor = processors.TemplateProcessing(single=template, special_tokens=marks)
    return fast


def read_pieces(path: Path, kind: str = "unigram") -> Any:
    """Reads a SentencePiece model of a kind, `unigram` or `BPE`."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    sentencepiece_model: Any = import_module("sentencepiece.sentencepiece_model_pb2")
    model = sentencepiece_model.ModelProto()
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_BYTES:,} that a vocabulary may have")
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise BadSource(f"{path.parent.name}: {path.name} cannot be read: {error}") from error
    if model.trainer_spec.model_type != getattr(sentencepiece_model.TrainerSpec, kind.upper()):
        raise BadSource(f"{path.parent.name}: {path.name} is no {kind} model, which is the only kind that is read")
    return model
