"""The search for shapes: as good as trying every shape, fast for large models, with the uniform cut beside it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest

from slimseq.compression.compress.structures.costs import PARTS, CostTable
from slimseq.compression.compress.structures.loss_table import LossTable
from slimseq.compression.compress.structures.shape_search import (
    ShapeCandidate,
    estimated_loss,
    is_uniform,
    largest_target,
    search,
)
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer
from slimseq.compression.prune.model_parts import PartKind
from slimseq.evaluation.choice import Aim
from tests.compression.compress.tables import random_costs, random_losses, whole_model

SMALL: dict[PartKind, tuple[int, ...]] = {"heads": (8, 4), "cross_heads": (8, 2), "feed_forward": (64, 32, 8)}
# More than the search may lose to steps of its prices.
ROUNDING = 1.002


def every_stack(stack: str, whole: LayerPlan, losses: LossTable) -> Iterator[tuple[PlannedLayer, ...]]:
    layers = whole.stacks[stack]
    order = [removal.layer for removal in losses.removals[stack]]
    for count in range(len(order) + 1):
        kept = [layer for layer in layers if layer.layer not in order[:count]]
        cuts = []
        for layer in kept:
            kinds = [kind for kind in PARTS if getattr(layer, kind) is not None]
            sizes = product(*(SMALL[kind] for kind in kinds))
            cuts.append([replace(layer, **dict(zip(kinds, each, strict=True))) for each in sizes])
        for chosen in product(*cuts):
            if stack not in losses.shared_heads or len({layer.heads for layer in chosen}) == 1:
                yield chosen


def price(plan: LayerPlan, costs: CostTable, aim: Aim) -> float:
    found = costs.predict(plan)
    return found.seconds if aim == "fastest" else found.bytes


def least_loss(whole: LayerPlan, losses: LossTable, costs: CostTable, aim: Aim, target: float, uniform: bool) -> float:
    """Tries every shape."""
    bound = price(whole, costs, aim) / target
    plans = (LayerPlan(*stacks) for stacks in product(*(every_stack(each, whole, losses) for each in whole.stacks)))
    return min(
        estimated_loss(plan, whole, losses)
        for plan in plans
        if price(plan, costs, aim) <= bound and (is_uniform(plan) or not uniform)
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shared_heads", [(), ("encoder", "decoder")])
@pytest.mark.parametrize("aim", ["fastest", "smallest"])
def test_no_other_shape_of_the_same_price_has_a_smaller_loss(
    seed: int, shared_heads: tuple[str, ...], aim: Aim
) -> None:
    whole = whole_model(encoder=2, decoder=2)
    losses, costs = random_losses(whole, SMALL, seed, shared_heads), random_costs(whole, SMALL, seed)

    for target in (1.2, 1.6, 2.5):
        found = search(whole, losses, costs, [target], aim, best=3)

        bound = price(whole, costs, aim) / target
        assert all(price(each.plan, costs, aim) <= bound * (1 + 1e-9) for each in found)
        # A price just above the least price of a shape may be lost to the rounding of prices.
        assert found[0].loss <= least_loss(whole, losses, costs, aim, target * ROUNDING, uniform=False) + 1e-9
        uniform = min(each.loss for each in found if each.is_uniform)
        assert uniform == pytest.approx(least_loss(whole, losses, costs, aim, target, uniform=True))


def test_candidates_say_what_the_tables_say_and_are_distinct() -> None:
    whole = whole_model(encoder=3, decoder=3)
    losses, costs = random_losses(whole, SMALL, 7), random_costs(whole, SMALL, 7)

    found = search(whole, losses, costs, [1.5, 2.0], best=4)

    assert [each.target for each in found] == sorted(each.target for each in found)
    for target in (1.5, 2.0):
        plans = [each.plan for each in found if each.target == target]
        assert 4 <= len(set(plans)) == len(plans) <= 5
    for each in found:
        assert each.predicted == costs.predict(each.plan)
        assert each.loss == pytest.approx(estimated_loss(each.plan, whole, losses))


def test_stacks_with_shared_heads_keep_the_same_heads_in_all_layers() -> None:
    whole = whole_model(encoder=4, decoder=3)
    losses = random_losses(whole, SMALL, 3, shared_heads=("encoder", "decoder"))

    found = search(whole, losses, random_costs(whole, SMALL, 3), [1.2, 1.5, 2.0], best=6)

    assert {len({layer.heads for layer in layers}) for each in found for layers in each.plan.stacks.values()} == {1}


def test_nothing_is_cut_where_nothing_has_to_be() -> None:
    whole = whole_model(encoder=2, decoder=2)

    [first, *_] = search(whole, random_losses(whole, SMALL, 0), random_costs(whole, SMALL, 0), [1.0])

    assert first.plan == whole
    assert first.loss == 0


def test_a_target_out_of_reach_has_no_candidates() -> None:
    whole = whole_model(encoder=2, decoder=2)
    losses, costs = random_losses(whole, SMALL, 0), random_costs(whole, SMALL, 0)

    found = search(whole, losses, costs, [1.5, 15.0, 100.0])

    assert {each.target for each in found} == {1.5}


def test_the_largest_target_is_reached_and_no_larger_one() -> None:
    whole = whole_model(encoder=3, decoder=2)
    losses, costs = random_losses(whole, SMALL, 2), random_costs(whole, SMALL, 2)

    for aim in get_args(Aim):
        largest = largest_target(whole, losses, costs, aim)

        assert search(whole, losses, costs, [largest * 0.999], aim)
        assert not search(whole, losses, costs, [largest * 1.001], aim)


def test_a_smaller_vocabulary_leaves_more_for_layers() -> None:
    whole = whole_model(encoder=3, decoder=3)
    losses, costs = random_losses(whole, SMALL, 5), random_costs(whole, SMALL, 5)

    [all_tokens, *_] = search(whole, losses, costs, [2.0], aim="smallest")
    [half, *_] = search(whole, losses, costs, [2.0], aim="smallest", tokens=500)

    assert half.loss < all_tokens.loss
    assert half.predicted.bytes <= costs.predict(whole).bytes / 2


@pytest.mark.parametrize(("targets", "best"), [([0.5], 4), ([2.0], 0)])
def test_impossible_questions_are_refused(targets: list[float], best: int) -> None:
    whole = whole_model(encoder=2, decoder=2)

    with pytest.raises(BadParameters, match="cannot search"):
        search(whole, random_losses(whole, SMALL, 0), random_costs(whole, SMALL, 0), targets, best=best)


@pytest.mark.parametrize("shared_heads", [(), ("encoder", "decoder")])
def test_a_model_of_24_layers_takes_a_few_seconds(shared_heads: tuple[str, ...]) -> None:
    levels: dict[PartKind, tuple[int, ...]] = {
        "heads": tuple(range(8, 0, -1)),
        "cross_heads": tuple(range(8, 0, -1)),
        "feed_forward": (4096, 3072, 2048, 1536, 1024, 512),
    }
    whole = whole_model(encoder=12, decoder=12, feed_forward=4096)
    losses, costs = random_losses(whole, levels, 0, shared_heads), random_costs(whole, levels, 0)
    started = time.process_time()

    found: list[ShapeCandidate] = search(whole, losses, costs, [1.5, 2.0, 3.0, 4.0, 6.0, 8.0])

    seconds = time.process_time() - started
    assert {each.target for each in found} == {1.5, 2.0, 3.0, 4.0, 6.0, 8.0}
    # On one core of a server of 2023 it takes about 3 seconds.
    assert seconds < 15
