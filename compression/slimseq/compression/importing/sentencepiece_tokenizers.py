"""Converts the SentencePiece models of Marian and M2M100 to a `tokenizer.json`: transformers has no fast one for them.

Marian has two SentencePiece models, one for sources and one for targets, and one vocabulary with the pieces of both. In
`tokenizer.json` the pieces of the target model have a very low score, so that sources use them only if nothing else
fits. A second file is for targets, in training. The unigram segmentation is that of Kudo 2018,
https://arxiv.org/abs/1804.10959.

M2M100, and an NLLB without `tokenizer.json`, have a SentencePiece model of byte pairs. The ids of M2M100 are those of
`vocab.json`, the ids of NLLB those of SentencePiece plus one. Language tokens follow, in transformers' order.
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
# SentencePiece's first pieces are no pieces of texts: the unknown token, start and end.
CONTROL_PIECES = 3
# Score (log probability) of pieces that a segmentation takes only if nothing else fits, far below that of real pieces.
NEVER = -1e4
# Limit of a SentencePiece model. The largest published ones have 5 MB.
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
    conversions = {SOURCE: "tokenizer.json"}
    if (source / TARGET).exists():
        conversions[TARGET] = TARGET_TOKENIZER
    # All are converted before one is written, so that an error leaves no file.
    converted = {name: _fast(ids, read_pieces(source / model)) for model, name in conversions.items()}
    for name, fast in converted.items():
        fast.save(str(folder / name))
    named = {"eos_token": END, "pad_token": PADDING, "unk_token": UNKNOWN}
    # transformers has no class for a fast tokenizer of Marian.
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def write_student_tokenizer(vocabularies: Sequence[Path], folder: Path) -> list[int]:
    """Writes the same files for a Marian student, whose ids are those of SentencePiece. Returns the number of ids.

    `vocabularies` is one SentencePiece model for both sides, or one for sources and one for targets.

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
    config = read_json(source / "tokenizer_config.json", {})
    # `languages` are the language tokens, `mark` is the one before a source.
    if (source / VOCABULARY).exists():
        ids: dict[str, int] = read_json(source / VOCABULARY)
        codes_by_name = _language_codes("m2m_100")
        name = config.get("language_codes", "m2m100")
        if not isinstance(name, str) or name not in codes_by_name:
            known = f"known are {', '.join(codes_by_name)}"
            raise BadSource(f"{source.name}: tokenizer_config.json names the language_codes {shown(name)}; {known}")
        languages = [f"__{code}__" for code in codes_by_name[name]]
        mark = f"__{config.get('src_lang') or 'en'}__"
    else:
        ids = {token: token_id for token_id, token in enumerate((*M2M100_SPECIALS, *pieces))}
        languages = [*_language_codes("nllb"), MASK]
        mark = config.get("src_lang") or "eng_Latn"
    missing = [token for token in M2M100_SPECIALS if token not in ids]
    if missing:
        raise BadSource(f"{source.name}: {VOCABULARY} has no {' and no '.join(missing)}")
    # SentencePiece has scores of pieces and no list of merges. A piece may be merged from any two pieces that it
    # consists of. Pieces of a higher score are merged first.
    mergeable = {piece for piece in pieces if piece in ids}
    scores = {each.piece: each.score for each in model.pieces}
    merges = []
    for piece in sorted(mergeable, key=lambda piece: -scores[piece]):
        for cut in range(1, len(piece)):
            first, second = piece[:cut], piece[cut:]
            if first in mergeable and second in mergeable:
                merges.append((first, second))
    pairs = BPE(ids, merges, unk_token=UNKNOWN, fuse_unk=True)
    fast = fast_tokenizer(pairs, model, [*M2M100_SPECIALS, *languages], f"{mark} $A {END}")
    fast.save(str(folder / "tokenizer.json"))
    named = {"bos_token": START, "eos_token": END, "pad_token": PADDING, "unk_token": UNKNOWN}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def _language_codes(module: str) -> Any:
    """Returns the language codes in a module of transformers: a list, or for M2M100 several lists by name."""
    return import_module(f"transformers.models.{module}.tokenization_{module}").FAIRSEQ_LANGUAGE_CODES


def _fast(ids: dict[str, int], pieces: Any, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """Returns a tokenizer of the whole vocabulary with the segmentation of one SentencePiece model."""
    scores = {piece.piece: piece.score for piece in pieces.pieces}
    # Ids that no token has must be in the list too, since a token's place in it is its id.
    vocabulary = [(f"<unused {token_id}>", NEVER) for token_id in range(max(ids.values()) + 1)]
    for token, token_id in ids.items():
        vocabulary[token_id] = (token, NEVER if token in specials else scores.get(token, NEVER))
    model = Unigram(vocabulary, unk_id=ids[UNKNOWN], byte_fallback=False)
    return fast_tokenizer(model, pieces, [*specials, *filter(Marian.target_token.fullmatch, ids)])


def fast_tokenizer(model: Any, pieces: Any, added: Sequence[str], template: str = f"$A {END}") -> Tokenizer:
    """Returns a tokenizer with a segmentation of the library and the normalization of a SentencePiece model.

    Args:
        model: the segmentation, a model of `tokenizers`.
        pieces: the SentencePiece model with the normalization.
        added: special tokens. Those that `model` lacks get the next ids.
        template: special tokens around a text, which is `$A`.
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
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_BYTES:,} that a vocabulary may have")
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise BadSource(f"{path.parent.name}: {path.name} cannot be read: {error}") from error
    if model.trainer_spec.model_type != getattr(sentencepiece_model.TrainerSpec, kind.upper()):
        raise BadSource(f"{path.parent.name}: {path.name} is no {kind} model, which is the only kind that is read")
    return model
