"""Lets a new BART begin with the weights of a Marian student: it learns in minutes what takes days from nothing.

Encoder, cross-attention and feed-forward layers are the student's, and so are positions and the pieces that the
training texts use most. Self-attention takes the place of a recurrent cell: it begins with the cell's projection,
spreads evenly, and learns the rest.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import AddedToken, normalizers, processors
from tokenizers import Tokenizer as FastTokenizer

from slimseq.compression.errors import BadParameters
from slimseq.compression.from_nothing.tokenizer_maker import plain_characters
from slimseq.compression.models import architecture_of_model
from slimseq.inference.models.architecture import Architecture, Attention, Cell
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.tokenizer import TOKENIZER, Tokenizer, read_fast
from slimseq.models_store.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEXTS_AT_ONCE = 2048
# The cell's ReLU drops what is negative of its state, about a half.
KEPT_BY_CELL = 0.5
NEEDED = "--begin-with needs --family bart, and a Marian student with one vocabulary for both sides"


def take_pieces(
    student: Path, texts: Iterable[str], vocabulary: int, family: ModelFamily, folder: Path, max_tokens: int
) -> None:
    """Writes a tokenizer that has a family's special tokens and those of a student's pieces that texts use most.

    What is left out is split into shorter pieces, whose vectors the student has learned too.

    Args:
        student: the folder of the student's tokenizer, with one unigram vocabulary for both sides.
        texts: training texts.
        vocabulary: number of tokens at most.
        family: of the new model.
        folder: to write to; made where it is missing.
        max_tokens: value of `model_max_length`.

    Raises:
        BadParameters: the vocabulary is of another kind.
    """
    fast = read_fast(student / TOKENIZER)
    whole = json.loads(fast.to_str())
    if whole["model"]["type"] != "Unigram":
        raise BadParameters(NEEDED)
    fast.normalizer = normalizers.Sequence([plain_characters(), fast.normalizer])
    counts, remaining = Counter[str](), iter(texts)
    while some := list(islice(remaining, TEXTS_AT_ONCE)):
        for encoding in fast.encode_batch(some, add_special_tokens=False):
            counts.update(encoding.tokens)
    specials = list(family.special_tokens)
    whole = json.loads(fast.to_str())
    scores = {piece: score for piece, score in whole["model"]["vocab"] if piece in counts and piece not in specials}
    # Single characters first, so that whatever is in the texts can be spelled.
    kept = sorted(scores, key=lambda piece: (len(piece) > 1, -counts[piece]))[: vocabulary - len(specials)]
    never = min(score for _, score in whole["model"]["vocab"])
    whole["model"]["vocab"] = [*((token, never) for token in specials), *((piece, scores[piece]) for piece in kept)]
    whole["model"]["unk_id"] = specials.index("<unk>")
    whole["added_tokens"], whole["post_processor"] = [], None
    made = FastTokenizer.from_str(json.dumps(whole))
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    marks = [(token, specials.index(token)) for token in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / TOKENIZER))
    named = {f"{token.strip('</>')}_token": token for token in specials if token not in ("<s>", "</s>")}
    named |= {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    write_json(folder / "special_tokens_map.json", named)
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens}
    write_json(folder / "tokenizer_config.json", {**named, **kind, "clean_up_tokenization_spaces": False})


def begin_with(model: "PreTrainedModel", tokenizer: Path, student: "PreTrainedModel", student_tokenizer: Path) -> None:
    """Copies a student's weights into a new model, in place.

    Args:
        model: a new BART with the student's activation, width, layers, heads and feed-forward width.
        tokenizer: the folder of its tokenizer.
        student: a Marian student with one vocabulary for both sides.
        student_tokenizer: the folder of the student's.

    Raises:
        BadParameters: a model is of another family, or of another size; names the first tensor that differs.
    """
    ours, theirs = architecture_of_model(model), architecture_of_model(student)
    is_joint = theirs.encoder.tokens == theirs.decoder.tokens
    if model.config.model_type != "bart" or not theirs.decoder.is_recurrent or not is_joint:
        raise BadParameters(NEEDED)
    state = model.state_dict()
    for name, values in _same_parts(ours, theirs, student.state_dict()):
        if name not in state or state[name].shape != values.shape:
            sizes = f"{list(values.shape)} there and {list(state[name].shape) if name in state else 'missing'} here"
            raise BadParameters(f"the new model needs the sizes of the one that it begins with: {name} is {sizes}")
        state[name].copy_(values)
    tokens = student.state_dict()[theirs.encoder.tokens]
    table = state[ours.encoder.tokens]
    here, there = (Tokenizer(folder).vocabulary for folder in (tokenizer, student_tokenizer))
    shared = [token for token in here if token in there]
    table[[here[token] for token in shared]] = tokens[[there[token] for token in shared]]
    # A source and a target of BART begin with a token more.
    positions = torch.from_numpy(theirs.sinusoidal_positions(ours.max_positions - 1, ours.width))
    for stack in ours.stacks:
        rows = state[f"{stack.positions}.weight"][ours.position_offset :]
        rows.zero_()
        rows[1:] = positions
        # The student has no norm there: one that keeps the mean and the deviation of what it norms changes least.
        read = ours.embedding_scale * table + rows[torch.arange(len(table)) % 32]
        state[f"{stack.embedding_norm}.weight"].fill_(float(read.std(-1).mean()))
        state[f"{stack.embedding_norm}.bias"].fill_(float(read.mean()))


def _same_parts(
    ours: Architecture, theirs: Architecture, given: dict[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields our names and the values of all that the student's layers have, attention in place of cells included."""
    layers = (ours.encoder.layers_name, ours.decoder.layers_name)
    for name, values in given.items():
        if name.startswith(layers) and "cell" not in name:
            yield name, values
    for own, their in zip(ours.decoder.layers, theirs.decoder.layers, strict=False):
        attention, cell = own.self_attention, their.self_attention
        assert isinstance(attention, Attention)
        assert isinstance(cell, Cell)
        yield f"{attention.value}.weight", given[f"{cell.input}.weight"]
        yield f"{attention.output}.weight", KEPT_BY_CELL * torch.eye(ours.width)
        for part in ("weight", "bias"):
            yield f"{attention.norm}.{part}", given[f"{cell.norm}.{part}"]
