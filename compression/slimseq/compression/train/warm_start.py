"""Lets a new BART begin with the weights of a Marian student: it learns in minutes what takes days from nothing.

Encoder, cross-attention and feed-forward layers are the student's, and so are positions. A token is the mean of the
student's pieces of its text (Gee et al. 2022, https://aclanthology.org/2022.emnlp-industry.41). Self-attention takes
the place of a recurrent cell: it begins with the cell's projection, spreads evenly, and learns the rest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.train.tokenizer_maker import SPACE_MARK
from slimseq.inference.models.architecture import Architecture, Attention, Cell
from slimseq.inference.tokenizer import TOKENIZER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NO_CHARACTER = "\ufffd"
# The cell's ReLU drops what is negative of its state, about a half.
KEPT_BY_CELL = 0.5


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
        raise BadParameters("--begin-with needs --family bart, and a Marian student with one vocabulary for both sides")
    state = model.state_dict()
    for name, values in _same_parts(ours, theirs, student.state_dict()):
        if name not in state or state[name].shape != values.shape:
            sizes = f"{list(values.shape)} there and {list(state[name].shape) if name in state else 'missing'} here"
            raise BadParameters(f"the new model needs the sizes of the one that it begins with: {name} is {sizes}")
        state[name].copy_(values)
    tokens = student.state_dict()[theirs.encoder.tokens]
    table = state[ours.encoder.tokens]
    for token, pieces in _pieces(tokenizer, student_tokenizer):
        table[token] = tokens[pieces].mean(0)
    # A source and a target of BART begin with a token more.
    positions = torch.from_numpy(theirs.family.sinusoidal_positions(ours.max_positions - 1, ours.width))
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


def _pieces(tokenizer: Path, student_tokenizer: Path) -> Iterator[tuple[int, list[int]]]:
    """Yields each token of ours that has a text, and the student's pieces of it."""
    from tokenizers import Tokenizer

    ours, theirs = (Tokenizer.from_file(str(folder / TOKENIZER)) for folder in (tokenizer, student_tokenizer))
    special, unknown = ours.get_added_tokens_decoder(), theirs.token_to_id("<unk>")
    for token in range(ours.get_vocab_size()):
        if token in special:
            pieces = [theirs.token_to_id("</s>")] if special[token].content == "</s>" else []
        else:
            text = ours.decode([token]).replace(" ", SPACE_MARK)
            pieces = [] if NO_CHARACTER in text else [piece.id for piece in theirs.model.tokenize(text)]
        known = [piece for piece in pieces if piece != unknown and piece is not None]
        if known:
            yield token, known
