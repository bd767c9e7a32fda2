"""What structures cost and are worth: steps that add up to the whole."""

import pytest

from slimseq.compression.compress.structures.costs import Cost, CostTable, LayerCosts, SizeCosts
from slimseq.compression.compress.structures.loss_table import LayerLoss, LossTable, PartLoss
from slimseq.compression.compress.structures.structure_rows import StructureStep, structure_rows
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer

WHOLE = LayerPlan((PlannedLayer(0, None, None, 8), PlannedLayer(1, None, None, 8)), (PlannedLayer(0, None, None, 8),))
COSTS = CostTable(
    Cost(10.0),
    {
        stack: LayerCosts(Cost(30.0), {"feed_forward": SizeCosts({8: Cost(), 4: Cost(-8.0), 2: Cost(-12.0)})})
        for stack in ("encoder", "decoder")
    },
    SizeCosts({100: Cost(), 50: Cost(-5.0)}),
)


def part(stack: str, layer: int) -> PartLoss:
    return PartLoss(stack, layer, "feed_forward", (8, 4, 2), (0.0, 0.1, 0.2), (0.0, 0.25, 1.0))


LOSSES = LossTable(
    (part("encoder", 0), part("encoder", 1), part("decoder", 0)), {"encoder": (LayerLoss(1, 0.5, 0.5),)}, (), 100
)


def test_every_step_says_what_it_saves_and_what_it_loses() -> None:
    first, second, decoder, vocabulary = structure_rows(WHOLE, LOSSES, COSTS)

    [feed_forward] = first.parts
    assert feed_forward.name == "feed-forward"
    assert feed_forward.steps == (StructureStep(4, 0.08, 0.25), StructureStep(2, 0.04, 0.75))
    # Extrapolated to no channels at all.
    assert feed_forward.rest_share == pytest.approx(0.04)
    assert feed_forward.seconds_share == pytest.approx(0.16)
    assert [row.loss_without for row in (first, second, decoder)] == [None, 0.5, None]
    assert first.layer_share == pytest.approx(0.3)
    assert vocabulary.parts[0].steps == (StructureStep(50, 0.05, None),)


def test_the_losses_of_vocabularies_are_shown_where_they_are_known() -> None:
    *_, vocabulary = structure_rows(WHOLE, LOSSES, COSTS, vocabulary_losses={80: 0.0})

    first, second = vocabulary.parts[0].steps
    assert (first.kept, first.loss, second.kept, second.loss) == (80, 0.0, 50, None)
    assert (first.seconds_share, second.seconds_share) == pytest.approx((0.02, 0.03))
