"""A new BART that starts from a Marian student has the student's layers, positions and pieces."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from slimseq.compression.errors import BadParameters
from slimseq.compression.from_nothing.new_model import make_model
from slimseq.compression.from_nothing.tokenizer_maker import tokenizer_size
from slimseq.compression.from_nothing.warm_start import begin_with, take_pieces
from slimseq.inference.models.registry import FAMILIES
from slimseq.models_store.manifest import Task
from tests.compression.test_train_base import trained
from tests.compression.tiny import ARCHITECTURE, SENTENCES, tiny_store, tiny_tokenizer
from tests.families import Family

STUDENT = replace(ARCHITECTURE, family="marian-student")
BART = replace(ARCHITECTURE, family="bart", begin_with="original")
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def taken(folder: Path, vocabulary: int = 300) -> Path:
    """The folder of a BART's tokenizer, with pieces of a student's."""
    theirs, texts = tiny_tokenizer(Family.T5, folder / "theirs"), [text for pair in SENTENCES for text in pair]
    take_pieces(theirs, texts, vocabulary, FAMILIES["bart"], folder / "ours", max_tokens=48)
    return folder / "ours"


def test_a_bart_has_the_layers_positions_and_pieces_of_the_student(tmp_path: Path) -> None:
    theirs, ours = tiny_tokenizer(Family.T5, tmp_path / "theirs"), taken(tmp_path)
    student = make_model(STUDENT, tokenizer_size(theirs), seed=1)
    model = make_model(BART, tokenizer_size(ours), seed=2)

    begin_with(model, ours, student, theirs)

    given, found = student.state_dict(), model.state_dict()
    for name in ("encoder.layers.1.self_attn.k_proj.bias", "decoder.layers.0.encoder_attn.q_proj.weight"):
        assert torch.equal(found[f"model.{name}"], given[f"model.{name}"])
    layer = "model.decoder.layers.1"
    assert torch.equal(found[f"{layer}.self_attn.v_proj.weight"], given[f"{layer}.cell.input.weight"])
    # The first token of a source is BART's own: the student's first place is the second.
    places = found["model.encoder.embed_positions.weight"][2:]
    assert places[0].count_nonzero() == 0
    assert places[1].tolist() == [0.0] * 16 + [1.0] * 16
    for piece in ("the", "</s>"):
        token, its = (
            Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(piece) for folder in (ours, theirs)
        )
        assert torch.equal(found["model.shared.weight"][token], given["model.shared.weight"][its])
    assert model.config.activation_function == "relu"


def test_the_pieces_that_texts_use_most_spell_every_text(tmp_path: Path) -> None:
    theirs, ours = (
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        for folder in (tiny_tokenizer(Family.T5, tmp_path / "theirs"), taken(tmp_path, vocabulary=120))
    )

    usual, rare = (tokenizer.encode("the dog\u2026") for tokenizer in (theirs, ours))

    assert ours.get_vocab_size() == 120
    assert [ours.id_to_token(token) for token in range(5)] == SPECIALS
    assert rare.tokens[0] == "<s>"
    assert rare.tokens[-1] == "</s>"
    assert {"the", "<unk>"} & {*rare.tokens} == {"the"}
    assert len(rare.tokens) > len(usual.tokens)
    assert ours.decode(rare.ids) == "the dog..."


def test_a_variant_of_another_family_than_the_students_is_refused(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.BART)
    with pytest.raises(BadParameters, match="needs --family bart, and a Marian student"):
        trained(context, new=BART, name="warm")
    assert context.store.variants(Task.TRANSLATION) == ["original"]


def test_a_student_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tiny_tokenizer(Family.BART, tmp_path)
    student = make_model(replace(STUDENT, feed_forward=32), tokenizer_size(folder), seed=1)

    with pytest.raises(BadParameters, match=r"encoder.layers.0.fc1.weight is \[32, 32\] there and \[64, 32\] here"):
        begin_with(make_model(BART, tokenizer_size(folder), seed=2), folder, student, folder)
