"""`layer_shapes` of a configuration: what it says is what a model gets, and what cannot be is refused by name."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.artifacts.publish import write_model
from slimseq.inference.models.configuration import read_json
from slimseq.inference.models.layer_shapes import LayerShapes
from slimseq.inference.models.pretrained import load_pretrained
from slimseq.inference.models.registry import architecture_of
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.inference.models.shaped_module import class_for, plain_class, shaped
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_json
from tests.compression.varied import varied
from tests.inference.graphs.test_related_models import model_of

SHAPES: dict[str, Any] = {
    "head_width": 8,
    "encoder": [{"heads": 3, "feed_forward": 20}, {"heads": 3, "feed_forward": 48}],
    "decoder": [{"heads": 2, "cross_heads": 4, "feed_forward": 7}, {"heads": 2, "cross_heads": 1, "feed_forward": 9}],
}


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """Returns `SHAPES` with another value at a path of keys and indices; None removes the key."""
    shapes = copy.deepcopy(SHAPES)
    place: Any = shapes
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return shapes


def test_what_is_read_is_what_is_written() -> None:
    shapes = LayerShapes.from_config({"layer_shapes": SHAPES})

    assert shapes is not None
    assert shapes.record() == SHAPES
    assert [layer.cross_heads for layer in shapes.layers] == [None, None, 4, 1]
    assert LayerShapes.from_config({}) is None


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([], "layer_shapes is not a mapping"),
        (changed("encoder", value=[]), "layer_shapes.encoder is not a list of 1 to 256 layers"),
        (changed("decoder", value=[SHAPES["decoder"][0]] * 257), "is not a list of 1 to 256 layers"),
        (changed("decoder", 0, value=7), r"decoder\[0\] does not have only cross_heads, feed_forward, heads"),
        (changed("encoder", 1, "cross_heads", value=2), r"encoder\[1\] does not have only feed_forward, heads"),
        (changed("encoder", 0, "feed_forward", value=None), r"encoder\[0\]\.feed_forward is None"),
        (changed("encoder", 0, "heads", value=0), r"encoder\[0\]\.heads is 0, not a whole number from 1 to 1,024"),
        (changed("encoder", 0, "heads", value=True), r"encoder\[0\]\.heads is True"),
        (changed("decoder", 1, "feed_forward", value=10**30), "is a number of more than 20 digits, not a whole number"),
        (changed("head_width", value="8"), "layer_shapes.head_width is '8'"),
    ],
)
def test_sizes_that_are_none_are_refused(shapes: Any, words: str) -> None:
    with pytest.raises(BadSource, match=words):
        LayerShapes.from_config({"layer_shapes": shapes})


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (changed("encoder", value=SHAPES["encoder"] * 2), "has 4 layers of the encoder, which has 2"),
        (changed("head_width", value=4), "head_width is 4, and a head of the model has 8 channels"),
        (changed("decoder", 0, "heads", value=None), r"decoder\[0\] does not have the attentions of decoder\.block\.0"),
        (changed("encoder", 0, "heads", value=4), "share one relative position bias"),
    ],
)
def test_shapes_of_another_model_are_refused(shapes: Any, words: str, tmp_path: Path) -> None:
    write_model(model_of("T5, relu, tied"), tmp_path)
    config = read_json(tmp_path / "config.json") | {"layer_shapes": shapes}
    write_json(tmp_path / "config.json", config)

    with pytest.raises(BadSource, match=words):
        architecture_of(config, SafetensorsReader(tmp_path))
    with pytest.raises(BadSource, match=words):
        load_pretrained(tmp_path, torch.float32)


def test_a_configuration_that_disagrees_with_the_tensors_is_refused(tmp_path: Path) -> None:
    write_model(varied(model_of("BART, gelu")), tmp_path)
    config = read_json(tmp_path / "config.json")
    config["layer_shapes"]["encoder"][1]["feed_forward"] += 1
    write_json(tmp_path / "config.json", config)

    with pytest.raises(BadSource, match=r"layers\.1\.fc[12]\.(weight|bias) has another shape than config\.json says"):
        load_pretrained(tmp_path, torch.float32)


def test_sizes_far_above_those_of_the_tensors_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write_model(varied(model_of("BART, gelu")), tmp_path)
    config = read_json(tmp_path / "config.json")
    config["layer_shapes"]["encoder"][1]["feed_forward"] = 2**20
    write_json(tmp_path / "config.json", config)

    with pytest.raises(BadSource, match="parameters, and the safetensors hold"):
        load_pretrained(tmp_path, torch.float32)


def test_the_class_of_a_model_follows_its_configuration() -> None:
    plain = model_of("BART, gelu")
    cut = varied(plain)

    assert type(cut) is shaped(type(plain)) is class_for(type(plain), cut.config) is class_for(type(cut), cut.config)
    assert plain_class(type(cut)) is type(plain) is class_for(type(cut), plain.config)
    assert type(cut).__name__ == "ShapedBartForConditionalGeneration"
    assert isinstance(cut, type(plain))


def test_the_class_reads_a_folder_by_itself(tmp_path: Path) -> None:
    cut = varied(model_of("T5, gated gelu, untied"))
    cut.save_pretrained(tmp_path)

    loaded = shaped(plain_class(type(cut))).from_pretrained(tmp_path)

    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in cut.state_dict().items())
