"""The table of losses: levels, losses between levels, and JSON in and out."""

import json

import pytest

from slimseq.compression.compress.structures.loss_table import LayerLoss, LossTable, PartLoss, levels_of
from slimseq.compression.errors import BadParameters

PART = PartLoss("decoder", 1, "cross_heads", (4, 2, 1), (0.0, 0.1, 0.5), (0.0, 0.2, 0.8))
TABLE = LossTable((PART,), {"encoder": (LayerLoss(2, 0.3, 0.3), LayerLoss(0, 0.9, 0.6)), "decoder": ()}, (), 321)


def test_levels_go_from_all_down_and_each_is_there_once() -> None:
    assert levels_of("feed_forward", 1536) == [1536, 1152, 768, 576, 384, 192]
    assert levels_of("feed_forward", 3) == [3, 2, 1]
    assert levels_of("heads", 4) == [4, 3, 2, 1]
    assert levels_of("cross_heads", 16) == [16, 14, 12, 10, 8, 6, 4, 2]
    assert levels_of("heads", 1) == [1]


def test_a_loss_between_two_levels_is_on_the_line_between_them() -> None:
    assert [PART.loss(kept) for kept in (4, 3, 2, 1)] == pytest.approx([0.0, 0.1, 0.2, 0.8])
    for kept in (0, 5):
        with pytest.raises(BadParameters, match=f"known for 1 to 4 cross_heads, not for {kept}"):
            PART.loss(kept)


def test_a_table_comes_back_from_json_as_it_was() -> None:
    assert LossTable.from_record(json.loads(json.dumps(TABLE.record()))) == TABLE
    assert TABLE.part("decoder", 1, "cross_heads") is PART
    with pytest.raises(BadParameters, match="no heads in decoder layer 1"):
        TABLE.part("decoder", 1, "heads")


@pytest.mark.parametrize(
    "change",
    [
        {"parts": [{"stack": "decoder"}]},
        {"parts": [TABLE.record()["parts"][0] | {"kind": "ears"}]},
        {"parts": [TABLE.record()["parts"][0] | {"losses": [0.0]}]},
        {"removals": []},
        {"tokens": "many"},
    ],
)
def test_what_is_no_table_is_refused_in_one_line(change: dict[str, object]) -> None:
    with pytest.raises(BadParameters, match="no table of losses"):
        LossTable.from_record(TABLE.record() | change)
