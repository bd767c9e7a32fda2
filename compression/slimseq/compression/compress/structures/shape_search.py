"""Searches the shape of a model with the smallest loss at each of a series of speeds or sizes.

Losses and costs are sums over the parts of layers. Therefore the best sizes of all layers of a stack are found by
dynamic programming, as ZipLM does it (Kurtic et al. 2023, https://arxiv.org/abs/2302.04089): the least loss of some
layers at each price follows from the least loss of one layer fewer. Layers may differ from one another. Whole layers go
in the order of the table of losses. A `_Curve` is for one number of layers that stay. Where the self-attentions of a
stack must keep the same heads, it is for one number of these heads too. Each target takes the best pair of curves.

Losses of parts are estimates. Therefore the search returns the best few shapes of a target, to be ranked by their true
divergence, and the best uniform cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from slimseq.compression.compress.structures.costs import Cost, CostTable, kinds_of, largest_layers
from slimseq.compression.compress.structures.loss_table import LossTable
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import STACKS, LayerPlan, PlannedLayer
from slimseq.compression.prune.model_parts import PartKind
from slimseq.evaluation.choice import Aim

Layers = tuple[PlannedLayer, ...]
Losses = NDArray[np.float64]

# Number of steps of the price of the whole model's layers. The price of a layer is rounded up to whole steps. In a
# shape of 24 layers that is 8 times as fast, the sum of the prices is at most 24 / (16384 / 8), 1.2 %, too high.
STEPS = 16384
# Pairs of curves are compared at every so many steps. The best pairs are then divided exactly.
COARSE_STEPS = 16


@dataclass(frozen=True)
class ShapeCandidate:
    """One shape that the search found.

    Args:
        plan: the layers that stay, and their sizes.
        predicted: seconds of one text, and bytes.
        loss: the sum of the losses of all that is cut, in nats a target token. It is an estimate.
        target: how many times as fast (or as small) as the whole model the shape had to be.
        is_uniform: whether all layers of a stack have the same sizes.
    """

    plan: LayerPlan
    predicted: Cost
    loss: float
    target: float
    is_uniform: bool


def search(
    whole: LayerPlan,
    losses: LossTable,
    costs: CostTable,
    targets: Sequence[float],
    aim: Aim = "fastest",
    best: int = 4,
    tokens: int | None = None,
) -> list[ShapeCandidate]:
    """Returns the best few shapes for each target, in the order of the targets, and in each the least loss first.

    The best uniform cut of a target is always among its candidates. A target that no shape reaches has no candidates.

    Args:
        whole: the plan that keeps everything.
        losses: what every part is worth.
        costs: what every part costs.
        targets: how many times as fast as the whole model in int8 the shapes are to be; or as small, by the aim.
        aim: whether the targets are of seconds or of bytes.
        best: number of shapes for each target besides the uniform cut. They have different numbers of layers (or of
            heads, where layers share them).
        tokens: number of tokens that shapes have. By default all. The whole model, which targets refer to, has all.

    Raises:
        BadParameters: a target is below 1, or `best` is.
    """
    if best < 1 or any(target < 1 for target in targets):
        raise BadParameters(f"cannot search for the best {best} shapes at the targets {list(targets)}")
    prices = _Prices(costs, aim)
    limit = prices.of(costs.predict(whole))
    outside = prices.of(costs.predict(LayerPlan((), ()), tokens))
    # What the layers of a shape may cost together, by target. Sums of prices are rounded.
    bounds = {target: (limit / target) * (1 + 1e-12) - outside for target in targets}
    step_size = max(limit, 1e-12) / STEPS
    curves = {stack: _curves(stack, whole, losses, prices, step_size) for stack in STACKS}
    uniform = {stack: _uniform_cuts(stack, whole, losses, prices) for stack in STACKS}
    found: list[ShapeCandidate] = []
    for target, bound in bounds.items():
        plans = _best_plans(curves["encoder"], curves["decoder"], int(bound / step_size), best)
        uniform_plan = _best_uniform(uniform["encoder"], uniform["decoder"], bound)
        if uniform_plan is not None and uniform_plan not in plans:
            plans.append(uniform_plan)
        candidates = [
            ShapeCandidate(
                plan=plan,
                predicted=costs.predict(plan, tokens),
                loss=estimated_loss(plan, whole, losses),
                target=target,
                is_uniform=is_uniform(plan),
            )
            for plan in plans
        ]
        found += sorted(candidates, key=lambda candidate: candidate.loss)
    return found


def estimated_loss(plan: LayerPlan, whole: LayerPlan, losses: LossTable) -> float:
    """Returns the sum of the losses of all that a plan cuts, in nats a target token.

    Raises:
        BadParameters: the plan removes layers in another order than the table of losses.
    """
    total = 0.0
    for stack, layers in plan.stacks.items():
        total += _removal_loss(stack, [layer.layer for layer in layers], whole, losses)
        for layer in layers:
            total += sum(losses.part(stack, layer.layer, kind).loss(getattr(layer, kind)) for kind in kinds_of(layer))
    return total


def _removal_loss(stack: str, kept: list[int], whole: LayerPlan, losses: LossTable) -> float:
    for layers, loss in _removals(stack, whole, losses):
        if [layer.layer for layer in layers] == kept:
            return loss
    raise BadParameters(f"the table of losses has no removal that leaves the {stack} layers {kept}")


def is_uniform(plan: LayerPlan) -> bool:
    """Returns whether all layers of each stack have the same sizes."""
    return all(len({replace(layer, layer=0) for layer in layers}) == 1 for layers in plan.stacks.values())


def largest_target(
    whole: LayerPlan, losses: LossTable, costs: CostTable, aim: Aim = "fastest", tokens: int | None = None
) -> float:
    """Returns how many times as fast (or as small) as the whole model the smallest shape is, with a number of tokens.

    The smallest shape has one layer in each stack, with the lowest level of each part. What is outside of layers stays,
    so that this number is often small. By default all tokens stay.
    """
    smallest = {}
    for stack, layers in whole.stacks.items():
        removed = {removal.layer for removal in losses.removals.get(stack, ())}
        smallest[stack] = tuple(
            replace(layer, **{kind: losses.part(stack, layer.layer, kind).kept[-1] for kind in kinds_of(layer)})
            for layer in layers
            if layer.layer not in removed
        )
    prices = _Prices(costs, aim)
    return prices.of(costs.predict(whole)) / prices.of(costs.predict(LayerPlan(**smallest), tokens))


@dataclass(frozen=True)
class _Prices:
    """What the targets are of: the seconds or the bytes of costs."""

    costs: CostTable
    aim: Aim

    def of(self, cost: Cost) -> float:
        return cost.seconds if self.aim == "fastest" else cost.bytes

    def of_layer(self, stack: str, layer: PlannedLayer) -> float:
        return self.of(self.costs.layer(stack, layer))


@dataclass(frozen=True)
class _Option:
    """One way to cut a layer, its price and its loss."""

    layer: PlannedLayer
    price: float
    loss: float


@dataclass(frozen=True)
class _Curve:
    """The best cuts of one stack at every price, for one choice of the layers that stay.

    Attributes:
        losses: the least loss at each price in steps, `(STEPS + 1,)`. Infinite where the stack cannot be so cheap. It
            never rises with the price.
        options: the cuts of each layer.
        steps: the price of each cut of each layer, in steps.
        chosen: the index of the best cut of each layer, `(STEPS + 1,)`, at the price of this layer and those before it.
    """

    losses: Losses
    options: tuple[tuple[_Option, ...], ...]
    steps: tuple[tuple[int, ...], ...]
    chosen: tuple[NDArray[np.int16], ...]

    def layers(self, steps: int) -> Layers:
        """Returns the best layers at a price."""
        layers = []
        for position in reversed(range(len(self.options))):
            index = int(self.chosen[position][steps])
            layers.append(self.options[position][index].layer)
            steps -= self.steps[position][index]
        return tuple(reversed(layers))


def _removals(stack: str, whole: LayerPlan, losses: LossTable) -> Iterator[tuple[Layers, float]]:
    """Yields the layers that stay if no layer goes, one, two and so on, and the loss of the removal."""
    remaining = whole.stacks[stack]
    yield remaining, 0.0
    for removal in losses.removals.get(stack, ()):
        remaining = tuple(layer for layer in remaining if layer.layer != removal.layer)
        if remaining:
            yield remaining, removal.loss


def _curves(stack: str, whole: LayerPlan, losses: LossTable, prices: _Prices, step_size: float) -> list[_Curve]:
    """Returns the curves of a stack: one for each number of layers, and of heads where layers share them."""

    @cache
    def options(layer: PlannedLayer, shared_heads: int | None) -> tuple[_Option, ...]:
        return _options(stack, layer, losses, prices, shared_heads)

    shared: Sequence[int | None] = (None,)
    if stack in losses.shared_heads:
        shared = _levels(stack, whole, losses, "heads")
    return [
        _curve([options(layer, heads) for layer in layers], removal_loss, step_size)
        for layers, removal_loss in _removals(stack, whole, losses)
        for heads in shared
    ]


def _levels(stack: str, whole: LayerPlan, losses: LossTable, kind: PartKind) -> tuple[int, ...]:
    """Returns the levels of the layer that has most of a kind of part."""
    return max((losses.part(stack, layer.layer, kind).kept for layer in whole.stacks[stack]), key=max)


def _options(
    stack: str, layer: PlannedLayer, losses: LossTable, prices: _Prices, shared_heads: int | None
) -> tuple[_Option, ...]:
    """Returns the cuts of a layer that no other cut beats in both price and loss, the cheapest first."""
    by_kind = {kind: losses.part(stack, layer.layer, kind) for kind in kinds_of(layer)}
    sizes = {kind: part.kept for kind, part in by_kind.items()}
    if shared_heads is not None:
        sizes["heads"] = (shared_heads,)
    levels = [[(size, by_kind[kind].loss(size)) for size in kept] for kind, kept in sizes.items()]
    found = []
    for combination in product(*levels):
        cut = replace(layer, **{kind: size for kind, (size, _) in zip(sizes, combination, strict=True)})
        found.append(_Option(cut, prices.of_layer(stack, cut), sum(loss for _, loss in combination)))
    return _not_beaten(found)


def _not_beaten(options: list[_Option]) -> tuple[_Option, ...]:
    best: list[_Option] = []
    for option in sorted(options, key=lambda each: (each.price, each.loss)):
        if not best or option.loss < best[-1].loss:
            best.append(option)
    return tuple(best)


def _curve(options: Sequence[tuple[_Option, ...]], removal_loss: float, step_size: float) -> _Curve:
    losses = np.full(STEPS + 1, removal_loss)
    all_steps, all_chosen = [], []
    for layer_options in options:
        steps = tuple(int(np.ceil(option.price / step_size)) for option in layer_options)
        with_layer = np.full(STEPS + 1, np.inf)
        chosen = np.zeros(STEPS + 1, dtype=np.int16)
        for index, (option, price) in enumerate(zip(layer_options, steps, strict=True)):
            if price > STEPS:
                continue
            # A view of the prices that suffice for this cut.
            least, choice = with_layer[price:], chosen[price:]
            loss = losses[: STEPS + 1 - price] + option.loss
            is_better = loss < least
            np.copyto(least, loss, where=is_better)
            np.copyto(choice, np.int16(index), where=is_better)
        losses = with_layer
        all_steps.append(steps)
        all_chosen.append(chosen)
    return _Curve(losses, tuple(options), tuple(all_steps), tuple(all_chosen))


def _best_plans(encoder: Sequence[_Curve], decoder: Sequence[_Curve], bound: int, best: int) -> list[LayerPlan]:
    """Returns the plans of the best pairs of curves whose prices together are at most `bound` steps."""
    if bound < 0:
        return []
    bound = min(bound, 2 * STEPS)
    # The encoder's share of the bound, in steps.
    shares = np.arange(max(0, bound - STEPS), min(bound, STEPS) + 1)
    coarse = shares[::COARSE_STEPS]
    of_decoder = np.array([curve.losses[bound - coarse] for curve in decoder])
    # The least loss of each pair, `(encoder curves, decoder curves)`.
    pairs = np.array([(of_decoder + curve.losses[coarse]).min(axis=1) for curve in encoder])
    plans: list[LayerPlan] = []
    for index in pairs.ravel().argsort(kind="stable")[:best]:
        row, column = np.unravel_index(index, pairs.shape)
        if not np.isfinite(pairs[row, column]):
            break
        first, second = encoder[row], decoder[column]
        share = int(shares[(first.losses[shares] + second.losses[bound - shares]).argmin()])
        plans.append(LayerPlan(first.layers(share), second.layers(bound - share)))
    return plans


@dataclass(frozen=True)
class _UniformCut:
    """A stack all of whose layers have the same sizes, as far as they had them before the cut."""

    layers: Layers
    price: float
    loss: float


def _uniform_cuts(stack: str, whole: LayerPlan, losses: LossTable, prices: _Prices) -> list[_UniformCut]:
    """Returns the uniform cuts of a stack that no other uniform cut beats in price and loss, the cheapest first."""
    largest = largest_layers(whole)[stack]
    kinds = kinds_of(largest)
    sizes = [_levels(stack, whole, losses, kind) for kind in kinds]
    found = []
    for combination in product(*sizes):
        changes = dict(zip(kinds, combination, strict=True))
        cuts = {}
        for layer in whole.stacks[stack]:
            smaller = replace(layer, **{kind: min(size, getattr(layer, kind)) for kind, size in changes.items()})
            loss = sum(losses.part(stack, layer.layer, kind).loss(getattr(smaller, kind)) for kind in kinds)
            cuts[layer.layer] = _Option(smaller, prices.of_layer(stack, smaller), loss)
        for layers, removal_loss in _removals(stack, whole, losses):
            kept = [cuts[layer.layer] for layer in layers]
            loss = removal_loss + sum(option.loss for option in kept)
            price = sum(option.price for option in kept)
            found.append(_UniformCut(tuple(option.layer for option in kept), price, loss))
    best: list[_UniformCut] = []
    for cut in sorted(found, key=lambda each: (each.price, each.loss)):
        if not best or cut.loss < best[-1].loss:
            best.append(cut)
    return best


def _best_uniform(encoder: Sequence[_UniformCut], decoder: Sequence[_UniformCut], bound: float) -> LayerPlan | None:
    """Returns the uniform cuts of both stacks with the least loss whose prices together are at most `bound`."""
    decoder_prices = np.array([cut.price for cut in decoder])
    best: tuple[float, LayerPlan] | None = None
    for cut in encoder:
        # The dearest cut that is affordable has the least loss.
        affordable = int(np.searchsorted(decoder_prices, bound - cut.price, side="right"))
        if not affordable:
            continue
        other = decoder[affordable - 1]
        if best is None or cut.loss + other.loss < best[0]:
            best = cut.loss + other.loss, LayerPlan(cut.layers, other.layers)
    return best[1] if best is not None else None
