"""Tables of costs: sums over structures, lines between measured sizes, and JSON."""

import json

import pytest

from slimseq.compression.compress.structures.costs import (
    Cost,
    CostTable,
    LayerCosts,
    SizeCosts,
    largest_layers,
)
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer
from slimseq.compression.prune.model_parts import PartKind
from tests.compression.compress.tables import random_costs, whole_model

SIZES = SizeCosts({8: Cost(), 4: Cost(-2.0, -40.0), 2: Cost(-4.0, -60.0)})


@pytest.mark.parametrize(
    ("size", "seconds", "bytes_"), [(8, 0, 0), (6, -1, -20), (4, -2, -40), (3, -3, -50), (2, -4, -60), (1, -5, -70)]
)
def test_costs_are_linear_between_and_beyond_measured_sizes(size: int, seconds: float, bytes_: float) -> None:
    assert SIZES.at(size) == Cost(seconds, bytes_)


def test_a_variant_costs_the_sum_of_its_structures() -> None:
    encoder = LayerCosts(Cost(10.0, 100.0), {"heads": SIZES})
    decoder = LayerCosts(Cost(20.0, 200.0), {"cross_heads": SIZES})
    table = CostTable(
        Cost(5.0, 50.0), {"encoder": encoder, "decoder": decoder}, SizeCosts({1000: Cost(), 500: Cost(-1.0, -10.0)})
    )
    plan = LayerPlan((PlannedLayer(0, 4, None, 64), PlannedLayer(2, 8, None, 64)), (PlannedLayer(1, 8, 2, 64),))

    assert table.predict(plan) == Cost(5 + (10 - 2) + 10 + (20 - 4), 50 + (100 - 40) + 100 + (200 - 60))
    assert table.predict(plan, tokens=750) == table.predict(plan) + Cost(-0.5, -5.0)


def test_no_layer_costs_less_than_nothing() -> None:
    layers = LayerCosts(Cost(1.0, 10.0), {"heads": SIZES})

    assert layers.at(PlannedLayer(0, 2, None, 64)) == Cost()


def test_a_table_survives_json() -> None:
    levels: dict[PartKind, tuple[int, ...]] = {"heads": (8, 4), "cross_heads": (8, 2), "feed_forward": (64, 32, 8)}
    table = random_costs(whole_model(2, 2), levels, seed=1)

    assert CostTable.from_record(json.loads(json.dumps(table.record()))) == table


@pytest.mark.parametrize("record", [{}, [], {"base": 1, "stacks": {}, "vocabulary": None, "estimated": []}])
def test_other_json_is_no_table(record: dict[str, object]) -> None:
    with pytest.raises(BadParameters, match="no table of costs"):
        CostTable.from_record(record)


def test_the_largest_layer_has_the_largest_of_each_size() -> None:
    plan = LayerPlan((PlannedLayer(0, 4, None, 64), PlannedLayer(1, 8, None, 32)), (PlannedLayer(0, None, 8, 16),))

    assert largest_layers(plan) == {"encoder": PlannedLayer(0, 8, None, 64), "decoder": PlannedLayer(0, None, 8, 16)}
