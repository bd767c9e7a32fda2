"""Random tables of losses and costs, for tests that need no model."""

import random

from slimseq.compression.compress.structures.costs import Cost, CostTable, LayerCosts, SizeCosts
from slimseq.compression.compress.structures.loss_table import LayerLoss, LossTable, PartLoss
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer
from slimseq.compression.prune.model_parts import PartKind

HEADS = 8


def whole_model(encoder: int, decoder: int, feed_forward: int = 64) -> LayerPlan:
    """Returns the plan that keeps everything of a model with some layers, each of 8 heads."""
    return LayerPlan(
        tuple(PlannedLayer(index, HEADS, None, feed_forward) for index in range(encoder)),
        tuple(PlannedLayer(index, HEADS, HEADS, feed_forward) for index in range(decoder)),
    )


def random_losses(
    whole: LayerPlan, levels: dict[PartKind, tuple[int, ...]], seed: int, shared_heads: tuple[str, ...] = ()
) -> LossTable:
    """Returns losses that rise with every level. `levels` has the sizes of each kind of part, the whole first."""
    generator = random.Random(seed)
    parts, removals = [], {}
    for stack, layers in whole.stacks.items():
        for layer in layers:
            for kind, kept in levels.items():
                if getattr(layer, kind) is None:
                    continue
                losses = [0.0]
                for _ in kept[1:]:
                    losses.append(losses[-1] + generator.uniform(0.01, 1.0))
                parts.append(PartLoss(stack, layer.layer, kind, kept, tuple(losses), tuple(losses)))
        order = [layer.layer for layer in layers]
        generator.shuffle(order)
        removed, loss = [], 0.0
        for index in order[:-1]:
            added = generator.uniform(0.3, 2.0)
            loss += added
            removed.append(LayerLoss(index, loss, added))
        removals[stack] = tuple(removed)
    return LossTable(tuple(parts), removals, shared_heads, tokens=1000)


def random_costs(whole: LayerPlan, levels: dict[PartKind, tuple[int, ...]], seed: int) -> CostTable:
    """Returns costs that fall with every level. A layer costs about 100 bytes and 100 seconds."""
    generator = random.Random(seed)
    stacks = {}
    for stack, layers in whole.stacks.items():
        sizes: dict[str, SizeCosts] = {}
        for kind, kept in levels.items():
            if getattr(layers[0], kind) is None:
                continue
            costs, cost = {}, Cost()
            for size in sorted(kept, reverse=True):
                costs[size] = cost
                cost -= Cost(generator.uniform(15, 45) / len(kept), generator.uniform(15, 45) / len(kept))
            sizes[kind] = SizeCosts(costs)
        stacks[stack] = LayerCosts(Cost(100.0, 100.0), sizes)
    return CostTable(Cost(20.0, 20.0), stacks, SizeCosts({1000: Cost(), 500: Cost(-5.0, -10.0)}))
