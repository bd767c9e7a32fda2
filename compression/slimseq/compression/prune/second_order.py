"""Second-order pruning of one projection: which of its inputs to remove, and the best weights of those that stay.

From the second moments H = E[x xᵀ] of a projection's inputs follows the squared error of its output without some of
them, after the weights of the others are fitted again by least squares. Optimal brain surgeon removes the structure
whose removal costs least, and updates what remains: of two equal heads, one is removed for nothing, and the other then
is worth what both were (Frantar & Alistarh 2022, https://arxiv.org/abs/2208.11580; for whole structures Kurtic et al.
2023, ZipLM, https://arxiv.org/abs/2302.04089, algorithm 1).

`choose_parts` applies this to a model. `compress.structures.losses` makes losses of the errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.criteria.wanda import ActivationMeans
from slimseq.compression.prune.model_parts import ModelPart
from slimseq.compression.train.data.training_data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Regularization of the least squares: what is added to the second moments of inputs, as a share of their mean.
RIDGE = 1e-3
# Channels are removed in blocks of the number of those left, divided by this. With fewer left, one by one.
BLOCKS = 48
# The channels of a block are chosen one after the other from this many times as many candidates.
CANDIDATES = 3
# The matrices lose the removed structures when this share of the structures that they have is left.
COMPACTED_SHARE = 0.75


def measure_moments(
    model: "PreTrainedModel",
    parts: Sequence[ModelPart],
    calibration: TrainingSet,
    advance: Callable[[int], object] = lambda _: None,
) -> ActivationMeans:
    """Measures the second moments of what the projections of some parts read, in one pass over all pairs.

    Returns:
        For each projection the means of products of its inputs and of a constant 1, the last, which is for the bias:
        `(inputs + 1, inputs + 1)`, float32.
    """
    means = ActivationMeans()
    with ExitStack() as exits, torch.inference_mode():
        for part in parts:
            hook = means.input_hook(part.projection, part.stack, _with_products)
            exits.callback(model.get_submodule(part.projection).register_forward_pre_hook(hook).remove)
        means.measure(model, calibration, advance)
    return means


def _with_products(values: torch.Tensor) -> torch.Tensor:
    """Sums the products of all pairs of inputs over positions. A constant 1 as the last input is for the bias."""
    extended = torch.nn.functional.pad(values, (0, 1), value=1.0)
    return extended.T @ extended


@dataclass(frozen=True)
class Fit:
    """Fitted weights of one projection for some of its inputs, in the dtype and on the device of the projection's."""

    weight: torch.Tensor
    """`(outputs, kept)`."""
    bias: torch.Tensor | None
    """`(outputs,)`, or None for a projection without bias."""


def patch(model: "PreTrainedModel", part: ModelPart, kept: torch.Tensor, fit: Fit | None) -> dict[str, torch.Tensor]:
    """Returns tensors of a part's projection with which the whole model computes what it would without some structures.

    What the projection reads of the other structures has weights of 0. Without a fit, the weights stay as they are.
    """
    module = model.get_submodule(part.projection)
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    inputs = inputs_of(kept, part.width)
    patched = torch.zeros_like(weight, requires_grad=False)
    patched[:, inputs] = weight.detach()[:, inputs] if fit is None else fit.weight
    tensors = {f"{part.projection}.weight": patched}
    if fit is not None and fit.bias is not None:
        tensors[f"{part.projection}.bias"] = fit.bias
    return tensors


@contextmanager
def with_tensors(model: "PreTrainedModel", tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Gives a model other values of some parameters for the block, without a copy of its own."""
    own: dict[str, torch.Tensor] = {}
    try:
        for name, tensor in tensors.items():
            parameter = model.get_parameter(name)
            own[name] = parameter.data
            parameter.data = tensor
        yield
    finally:
        for name, tensor in own.items():
            model.get_parameter(name).data = tensor


def inputs_of(structures: torch.Tensor, width: int) -> torch.Tensor:
    """Returns the inputs of a projection that belong to some structures, in their order: `width` for each, int64."""
    return (structures[:, None] * width + torch.arange(width)).flatten()


class Projection:
    """One projection, and the second moments of its inputs, float64 on the CPU.

    The least squares are regularized: weights of inputs that stay are held near their own values (RIDGE).
    """

    def __init__(self, moments: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Makes the least-squares problem of a projection.

        Args:
            moments: of its inputs and a constant 1, `(inputs + 1, inputs + 1)`.
            weight: `(outputs, inputs)`.
            bias: `(outputs,)` or None.

        Raises:
            BadParameters: the moments are not finite.
        """
        self._weight = weight
        self._bias = bias
        self.inputs = weight.shape[1]
        rows = weight.detach().T.double().cpu()
        size = self.inputs
        if bias is not None:
            # The bias is the weight of the constant 1, which always stays.
            rows = torch.cat([rows, bias.detach().double().cpu()[None]])
            size += 1
        self._rows = rows
        self._moments = moments[:size, :size].cpu().to(torch.float64, copy=True)
        if not bool(self._moments.isfinite().all()):
            raise BadParameters("activations of the model on calibration data are not finite numbers")
        # Inputs that are always 0 need something to divide by.
        mean = float(self._moments.diagonal()[: self.inputs].mean())
        self._ridge = max(RIDGE * mean, torch.finfo(torch.float32).tiny)
        self._moments.diagonal().add_(self._ridge)

    @cached_property
    def _products(self) -> torch.Tensor:
        """The second moments of inputs and outputs, `(inputs, outputs)`, and below them those of the constant 1."""
        return self._moments @ self._rows

    @cached_property
    def energy(self) -> float:
        """The mean square of the output without its bias, summed over the output's channels."""
        inputs = self._rows[: self.inputs]
        products = self._products[: self.inputs] - self._ridge * inputs
        if self._bias is not None:
            products = products - torch.outer(self._moments[: self.inputs, self.inputs], self._rows[self.inputs])
        return max(0.0, float((inputs * products).sum()))

    def fit(self, kept: torch.Tensor) -> Fit:
        """Returns the weights of some inputs, ascending, with which they come closest to the whole output."""
        rows = kept.cpu()
        if self._bias is not None:
            rows = torch.cat([rows, torch.tensor([self.inputs])])
        factor = torch.linalg.cholesky(self._moments[rows][:, rows])
        fitted = torch.cholesky_solve(self._products[rows], factor)
        bias = None if self._bias is None else fitted[-1].to(self._bias)
        return Fit(fitted[: len(kept)].T.contiguous().to(self._weight), bias)

    def elimination(self, width: int) -> "Elimination":
        """Returns the start of a removal of structures of `width` inputs each."""
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._moments))[: self.inputs, : self.inputs]
        return Elimination(inverse.contiguous(), self._rows[: self.inputs].clone(), width)


def projection_of(model: "PreTrainedModel", part: ModelPart, moments: torch.Tensor) -> Projection:
    """Returns the least-squares problem of the projection that leaves a part, given the moments of its inputs."""
    module = model.get_submodule(part.projection)
    weight, bias = module.weight, module.bias
    assert isinstance(weight, torch.Tensor)
    return Projection(moments, weight.detach(), bias.detach() if isinstance(bias, torch.Tensor) else None)


class Elimination:
    """What is left of a projection while structures are removed: the others are fitted at every time.

    A structure is `width` inputs next to each other. The matrices keep their sizes when a structure is removed, since
    to copy them takes longer than to update them.
    """

    def __init__(self, inverse: torch.Tensor, rows: torch.Tensor, width: int) -> None:
        """Takes over two tensors, and changes them.

        Args:
            inverse: that of the second moments of the inputs, `(inputs, inputs)`.
            rows: the weights of the inputs, `(inputs, outputs)`.
            width: inputs of a structure.
        """
        self._inverse = inverse
        self._rows = rows
        self._width = width
        self._is_left = torch.ones(len(rows) // width, dtype=torch.bool)

    @property
    def left(self) -> torch.Tensor:
        """The structures that are left, ascending, int64."""
        return self._is_left.nonzero().flatten()

    def costs(self) -> torch.Tensor:
        """Returns the squared error of the output that the removal of each structure adds, `(structures,)`.

        It is trace(W_Sᵀ [(H⁻¹)_SS]⁻¹ W_S) for the inputs S of a structure, and infinite for a removed one.
        """
        if self._width == 1:
            costs = self._rows.square().sum(1) / self._inverse.diagonal()
        else:
            count = len(self._is_left)
            structures = self._rows.reshape(count, self._width, -1)
            blocks = self._inverse.reshape(count, self._width, count, self._width).diagonal(dim1=0, dim2=2)
            costs = (torch.linalg.solve(blocks.permute(2, 0, 1), structures) * structures).sum((1, 2))
        return costs.masked_fill_(~self._is_left, torch.inf)

    def errors_in(self, order: torch.Tensor) -> torch.Tensor:
        """Returns the squared error of the output after each number of removals in an order of all structures.

        The error without the inputs S is trace(W_Sᵀ [(H⁻¹)_SS]⁻¹ W_S), so that one Cholesky factorization of the
        inverse, in this order, has all of them.
        """
        inputs = inputs_of(order, self._width)
        factor = torch.linalg.cholesky(self._inverse[inputs][:, inputs])
        parts = torch.linalg.solve_triangular(factor, self._rows[inputs], upper=False).square().sum(1)
        errors = parts.reshape(len(order), self._width).sum(1).cumsum(0)
        return torch.cat([errors.new_zeros(1), errors[:-1]])

    def cheapest_in_turn(self, candidates: torch.Tensor, count: int) -> tuple[list[int], list[float]]:
        """Chooses `count` of some channels that cost least one after the other, with the updates in between.

        Costs and updates need the inverse and the Gram matrix of the candidates' weights alone. NumPy has less to do
        for each of many small matrices than torch, and its threads do not wait for each other.

        Returns:
            The indices of the chosen ones among the candidates, and the squared error that each adds.
        """
        rows = self._rows[candidates]
        gram = (rows @ rows.T).numpy()
        inverse = self._inverse[candidates][:, candidates].numpy()
        is_left = np.ones(len(candidates), dtype=np.bool_)
        chosen: list[int] = []
        costs: list[float] = []
        for _ in range(count):
            left_costs = np.where(is_left, gram.diagonal() / inverse.diagonal(), np.inf)
            best = int(left_costs.argmin())
            chosen.append(best)
            costs.append(float(left_costs[best]))
            is_left[best] = False
            # The weights lose a multiple of the removed channel's: w - f w_best, and the Gram matrix with them.
            factors = inverse[:, best] / inverse[best, best]
            products = gram[:, best] - 0.5 * gram[best, best] * factors
            crossed = np.outer(factors, products)
            gram -= crossed
            gram -= crossed.T
            inverse -= np.outer(factors, inverse[best].copy())
            inverse[best, best] = 1.0
        return chosen, costs

    def restricted(self, structures: torch.Tensor) -> "Elimination":
        """Returns the elimination of some structures alone: their costs and updates depend on nothing else."""
        inputs = inputs_of(structures, self._width)
        return Elimination(self._inverse[inputs][:, inputs], self._rows[inputs], self._width)

    def remove(self, structures: torch.Tensor) -> None:
        """Removes structures, and fits what is left."""
        removed = inputs_of(structures, self._width)
        between = self._inverse[:, removed]
        block = between[removed]
        self._rows.addmm_(between, torch.linalg.solve(block, self._rows[removed]), alpha=-1)
        self._inverse.addmm_(between, torch.linalg.solve(block, between.T), alpha=-1)
        # What is left of a removed structure is only the rounding of floats.
        self._rows[removed] = 0
        self._inverse[removed] = 0
        self._inverse[:, removed] = 0
        self._inverse[removed, removed] = 1
        self._is_left[structures] = False


@dataclass(frozen=True)
class Removal:
    """The order in which the structures of one projection are removed, and the errors."""

    order: torch.Tensor
    """All structures but the last one, in order of removal, then the last one, `(structures,)`, int64."""
    errors: torch.Tensor
    """Squared error of the output after each number of removals, relative to the squared output: `(structures,)`. The
    first is 0, for no removal."""

    def kept(self, count: int) -> torch.Tensor:
        """Returns the `count` structures that stay, ascending."""
        return self.order[len(self.order) - count :].sort().values

    def error(self, count: int) -> float:
        """Returns the relative squared error with `count` structures."""
        return float(self.errors[len(self.order) - count])


def find_removals(projections: Sequence[Projection], width: int) -> list[Removal]:
    """Finds the order in which structures of `width` inputs are best removed, from all down to one.

    The same structures are removed from all projections: from one, or from the self-attentions of a stack that share a
    position bias. What counts is then the sum of the relative errors.

    Where there are many structures, they are removed in blocks. The channels of a block are chosen one after the other
    among the cheapest candidates, with the same updates, so that of equal channels only one is chosen.
    """
    eliminations = [projection.elimination(width) for projection in projections]
    scales = [_scale(projection) for projection in projections]
    # The structures that the matrices of the eliminations still have, by their numbers in the projections.
    numbers = torch.arange(projections[0].inputs // width)
    order: list[int] = []
    errors = [[0.0] for _ in projections]
    count = len(numbers)
    while count > 1:
        costs = _costs(eliminations, scales)
        block = min(max(1, count // BLOCKS), count - 1)
        if block == 1 or width > 1 or len(eliminations) > 1:
            removed = [int(costs.sum(0).argmin())]
            added = [[cost] for cost in costs[:, removed[0]].tolist()]
        else:
            cheapest = costs[0].argsort(stable=True)[: CANDIDATES * block]
            chosen, block_costs = eliminations[0].cheapest_in_turn(cheapest, block)
            removed = cheapest[chosen].tolist()
            added = [[scales[0] * cost for cost in block_costs]]
        for each, found, steps in zip(eliminations, errors, added, strict=True):
            for step in steps:
                found.append(found[-1] + max(0.0, step))
            each.remove(torch.tensor(removed))
        order += numbers[removed].tolist()
        count -= len(removed)
        if count <= COMPACTED_SHARE * len(numbers):
            left = eliminations[0].left
            numbers = numbers[left]
            eliminations = [each.restricted(left) for each in eliminations]
    order.append(int(numbers[eliminations[0].left]))
    return [Removal(torch.tensor(order), torch.tensor(found, dtype=torch.float64)) for found in errors]


def _scale(projection: Projection) -> float:
    """Returns the factor that makes a squared error relative to the squared output."""
    return 1 / projection.energy if projection.energy > 0 else 1.0


def find_removals_at_once(projections: Sequence[Projection], width: int) -> list[Removal]:
    """Finds an order of removal from the first costs alone, in a fraction of the time of `find_removals`.

    Redundant structures are counted twice in the order. The errors are those of this order, after the fit.
    """
    eliminations = [projection.elimination(width) for projection in projections]
    scales = [_scale(projection) for projection in projections]
    order = _costs(eliminations, scales).sum(0).argsort(stable=True)
    return [Removal(order, scale * each.errors_in(order)) for each, scale in zip(eliminations, scales, strict=True)]


def _costs(eliminations: Sequence[Elimination], scales: Sequence[float]) -> torch.Tensor:
    """Returns the costs of all structures, relative to the squared outputs, `(projections, structures)`."""
    return torch.stack([scale * each.costs() for each, scale in zip(eliminations, scales, strict=True)])
