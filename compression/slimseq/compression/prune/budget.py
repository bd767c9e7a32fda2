"""Chooses a shape for a budget of parameters: the one whose loss rises least before any recovery."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.shape import Shape

FEED_FORWARD_SHARES = (1, 0.75, 0.5, 0.375, 0.25)
OTHER_SHARES = (1, 0.75, 0.5)
# So many of the shapes that promise most are measured; the promise itself costs one measurement a cut of one kind.
MEASURED_SHAPES = 8


def choose_shape(
    whole: Shape,
    fixed: Mapping[str, int],
    budget: float,
    before: int,
    parameters: Callable[[Shape], int],
    loss: Callable[[Shape], float],
    is_feed_forward_shared: bool,
) -> tuple[Shape, dict[Shape, float]]:
    """Returns the shape with the smallest loss among those that reach a budget.

    Candidates are all combinations of feed-forward shares of 1, 0.75, 0.5, 0.375 and 0.25, and of heads' and layers'
    shares of 1, 0.75 and 0.5. Too many to run, so first every cut of one kind is measured alone; then, of those that
    reach the budget, the eight with the smallest sum of such rises.

    Args:
        whole: the model's shape.
        fixed: what the caller decided already, by `Shape`'s names; not searched.
        budget: share of the parameters to remove, above 0 and below 1.
        before: the model's parameters.
        parameters: counts a shape's parameters, after whatever else is cut.
        loss: measures a shape, in nats a target token.
        is_feed_forward_shared: whether both stacks have the same feed-forward width, as in T5.

    Returns:
        The shape, and the losses of all shapes that were measured, in the order in which they were.

    Raises:
        BadParameters: no shape reaches the budget.
    """
    start = replace(whole, **fixed)
    axes = _axes(start, fixed, is_feed_forward_shared)

    def combined(indices: tuple[int, ...]) -> Shape:
        shape = start
        for cuts, index in zip(axes, indices, strict=True):
            shape = replace(shape, **cuts[index])
        return shape

    # By the index of the cut on each axis.
    shapes = {indices: combined(indices) for indices in product(*(range(len(cuts)) for cuts in axes))}
    allowed = before * (1 - budget)
    smallest = min(shapes.values(), key=parameters)
    if parameters(smallest) > allowed:
        raise BadParameters(
            f"--budget {budget:g} cannot be met: the smallest shape ({', '.join(smallest.words(whole))}) removes "
            f"{1 - parameters(smallest) / before:.1%} of the parameters"
        )
    measured: dict[Shape, float] = {}

    def measure(shape: Shape) -> float:
        if shape not in measured:
            measured[shape] = loss(shape)
        return measured[shape]

    base = measure(start)
    rises = [[measure(replace(start, **cut)) - base for cut in cuts] for cuts in axes]
    promised = {
        shape: sum(rises[axis][index] for axis, index in enumerate(indices))
        for indices, shape in shapes.items()
        if parameters(shape) <= allowed
    }
    for shape in sorted(promised, key=lambda shape: (promised[shape], parameters(shape)))[:MEASURED_SHAPES]:
        measure(shape)
    reached = [shape for shape in measured if parameters(shape) <= allowed]
    return min(reached, key=lambda shape: (measured[shape], parameters(shape))), measured


def _axes(start: Shape, fixed: Mapping[str, int], is_feed_forward_shared: bool) -> list[list[dict[str, int]]]:
    """Returns, for each thing that is searched, its cuts, the first being none."""
    wide: list[tuple[str, ...]] = [("encoder_feed_forward", "decoder_feed_forward")]
    if not is_feed_forward_shared:
        wide = [(name,) for group in wide for name in group]
    shares: dict[tuple[str, ...], tuple[float, ...]] = {
        (name,): OTHER_SHARES for name in ("encoder_layers", "decoder_layers", "heads")
    }
    axes = []
    for group, some in (shares | dict.fromkeys(wide, FEED_FORWARD_SHARES)).items():
        if group[0] not in fixed:
            # Small numbers of heads or layers give some share twice.
            values = dict.fromkeys(share_of(getattr(start, group[0]), share) for share in some)
            axes.append([dict.fromkeys(group, value) for value in values])
    return axes


def share_of(count: int, share: float) -> int:
    """Returns how many parts a share of them is, at least 1."""
    return max(1, round(count * share))
