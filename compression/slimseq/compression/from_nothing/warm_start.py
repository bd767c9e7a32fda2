"""Lets a new BART start from the weights of a Marian student: it learns in minutes what takes days from nothing.

The new model takes over the student's encoder, cross-attention and feed-forward layers, its positions, and the pieces
that the training texts use most. A Marian student has a recurrent cell in each decoder layer, and BART has
self-attention there. The self-attention starts with the cell's projection as its values, attends to all positions
evenly, and learns the rest. `beginning` calls this module after `new_model` has made the BART.
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

# Texts that are encoded at once, in parallel.
TEXTS_AT_ONCE = 2048
# Initial scale of the attention's output. The ReLU behind a cell sets negative values to 0, which are about a half.
KEPT_BY_CELL = 0.5
# Assumed number of positions of a text, when the scale of embeddings plus positions is estimated.
USUAL_POSITIONS = 32
NEEDED = "--begin-with needs --family bart, and a Marian student with one vocabulary for both sides"


def take_pieces(
    student: Path, texts: Iterable[str], vocabulary: int, family: ModelFamily, folder: Path, max_tokens: int
) -> None:
    """Writes a tokenizer that has a family's special tokens and those of a student's pieces that texts use most.

    Pieces that are left out are split into shorter pieces, whose vectors the student has learned too.

    Args:
        student: the folder of the student's tokenizer, with one unigram vocabulary for both sides.
        texts: training texts.
        vocabulary: maximum number of tokens.
        family: family of the new model.
        folder: folder to write to. It is made if it is missing.
        max_tokens: value of `model_max_length`.

    Raises:
        BadParameters: the vocabulary is of another kind.
    """
    fast = read_fast(student / TOKENIZER)
    whole = json.loads(fast.to_str())
    if whole["model"]["type"] != "Unigram":
        raise BadParameters(NEEDED)
    fast.normalizer = normalizers.Sequence([plain_characters(), fast.normalizer])
    counts = Counter[str]()
    remaining = iter(texts)
    while True:
        batch = list(islice(remaining, TEXTS_AT_ONCE))
        if not batch:
            break
        for encoding in fast.encode_batch(batch, add_special_tokens=False):
            counts.update(encoding.tokens)
    specials = list(family.special_tokens)
    whole = json.loads(fast.to_str())
    scores = {piece: score for piece, score in whole["model"]["vocab"] if piece in counts and piece not in specials}
    # Single characters come first, so that every word of the texts can be spelled.
    kept = sorted(scores, key=lambda piece: (len(piece) > 1, -counts[piece]))[: vocabulary - len(specials)]
    lowest_score = min(score for _, score in whole["model"]["vocab"])
    pieces = [(token, lowest_score) for token in specials] + [(piece, scores[piece]) for piece in kept]
    whole["model"]["vocab"] = pieces
    whole["model"]["unk_id"] = specials.index("<unk>")
    whole["added_tokens"] = []
    whole["post_processor"] = None
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
    their_table = student.state_dict()[theirs.encoder.tokens]
    our_table = state[ours.encoder.tokens]
    our_ids, their_ids = (Tokenizer(folder).vocabulary for folder in (tokenizer, student_tokenizer))
    shared = [token for token in our_ids if token in their_ids]
    our_table[[our_ids[token] for token in shared]] = their_table[[their_ids[token] for token in shared]]
    # BART has one more token at the start of sources and targets, so the student's position 0 becomes position 1.
    positions = torch.from_numpy(theirs.sinusoidal_positions(ours.max_positions - 1, ours.width))
    for stack in ours.stacks:
        rows = state[f"{stack.positions}.weight"][ours.position_offset :]
        rows.zero_()
        rows[1:] = positions
        # BART has a norm after the embeddings, and the student has none. The norm changes its inputs least if its
        # weight is their standard deviation and its bias their mean.
        inputs = ours.embedding_scale * our_table + rows[torch.arange(len(our_table)) % USUAL_POSITIONS]
        state[f"{stack.embedding_norm}.weight"].fill_(float(inputs.std(-1).mean()))
        state[f"{stack.embedding_norm}.bias"].fill_(float(inputs.mean()))


def _same_parts(
    ours: Architecture, theirs: Architecture, given: dict[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors of the student's layers, by their name in the new model, with attention in place of cells."""
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
