"""Chooses a shape for a budget of parameters: the one whose loss rises least before any recovery."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.shape import Shape

FEED_FORWARD_SHARES = (1, 0.75, 0.5, 0.375, 0.25)
OTHER_SHARES = (1, 0.75, 0.5)
# So many of the shapes that promise most are measured; the promise itself costs one measurement a cut of one kind.
MEASURED_SHAPES = 8


@dataclass(frozen=True)
class Tried:
    """One shape that was measured. `loss` is in nats a target token, before recovery."""

    shape: Shape
    parameters: int
    loss: float

    def row(self) -> dict[str, int | float]:
        """Returns the same as a flat record."""
        return {**asdict(self.shape), "parameters": self.parameters, "loss": round(self.loss, 4)}


def choose_shape(
    whole: Shape,
    fixed: Mapping[str, int],
    budget: float,
    before: int,
    parameters: Callable[[Shape], int],
    loss: Callable[[Shape], float],
    is_feed_forward_shared: bool,
) -> tuple[Shape, list[Tried]]:
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
        The shape, and all that were measured, in the order in which they were.

    Raises:
        BadParameters: the budget is no such share, or no shape reaches it.
    """
    if not 0 < budget < 1:
        raise BadParameters(f"--budget {budget:g} is not a share between 0 and 1")
    start = replace(whole, **fixed)
    axes = _axes(start, fixed, is_feed_forward_shared)
    allowed = before * (1 - budget)
    candidates = [_with(start, choice) for choice in product(*axes)]
    smallest = min(candidates, key=parameters)
    if parameters(smallest) > allowed:
        raise BadParameters(
            f"--budget {budget:g} cannot be met: the smallest shape ({', '.join(smallest.words(whole))}) removes "
            f"{1 - parameters(smallest) / before:.1%} of the parameters"
        )
    measured: dict[Shape, Tried] = {}

    def measure(shape: Shape) -> float:
        if shape not in measured:
            measured[shape] = Tried(shape, parameters(shape), loss(shape))
        return measured[shape].loss

    base = measure(start)
    rises = {
        (axis, index): measure(_with(start, (cut,))) - base
        for axis, cuts in enumerate(axes)
        for index, cut in enumerate(cuts)
    }
    promised: dict[Shape, float] = {}
    for indices in product(*(range(len(cuts)) for cuts in axes)):
        shape = _with(start, tuple(cuts[index] for cuts, index in zip(axes, indices, strict=True)))
        if parameters(shape) <= allowed:
            promised[shape] = sum(rises[axis, index] for axis, index in enumerate(indices))
    best_promises = sorted(promised, key=lambda shape: (promised[shape], parameters(shape)))[:MEASURED_SHAPES]
    for shape in best_promises:
        measure(shape)
    reached = [tried for tried in measured.values() if tried.parameters <= allowed]
    return min(reached, key=lambda tried: (tried.loss, tried.parameters)).shape, list(measured.values())


Cut = dict[str, int]


def _axes(start: Shape, fixed: Mapping[str, int], is_feed_forward_shared: bool) -> list[list[Cut]]:
    """Returns, for each thing that is searched, its cuts, the first being none."""
    names: list[tuple[tuple[str, ...], tuple[float, ...]]] = [
        (("encoder_layers",), OTHER_SHARES),
        (("decoder_layers",), OTHER_SHARES),
        (("heads",), OTHER_SHARES),
    ]
    feed_forward = ("encoder_feed_forward", "decoder_feed_forward")
    groups = [feed_forward] if is_feed_forward_shared else [(name,) for name in feed_forward]
    names += [(group, FEED_FORWARD_SHARES) for group in groups]
    whole = asdict(start)
    axes: list[list[Cut]] = []
    for group, shares in names:
        if group[0] in fixed:
            continue
        # Small numbers of heads or layers give some share twice.
        values = dict.fromkeys(share_of(whole[group[0]], share) for share in shares)
        axes.append([dict.fromkeys(group, value) for value in values])
    return axes


def share_of(count: int, share: float) -> int:
    """Returns how many parts a share of them is, at least 1."""
    return max(1, round(count * share))


def _with(shape: Shape, cuts: tuple[Cut, ...]) -> Shape:
    for cut in cuts:
        shape = replace(shape, **cut)
    return shape
