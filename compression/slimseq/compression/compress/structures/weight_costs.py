"""Estimates what a structure costs by the number of its weights, where there was no time to measure it.

In int8 a weight is one byte. A graph's time is divided among its matrices by their weights, since a step reads and
multiplies each weight about equally often.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slimseq.compression.compress.structures.costs import Cost, kinds_of, largest_layers
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.layer_plan import whole_plan
from slimseq.compression.prune.model_parts import PartKind
from slimseq.compression.prune.model_shapes import shapes_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Weights by the graph that has them: "encoder" or "decoder".
Weights = dict[str, int]


class WeightCosts:
    """The weights of a model, and the cost of each.

    Args:
        model: the whole model.
        seconds: the time of a text in each graph, by stack.
    """

    def __init__(self, model: "PreTrainedModel", seconds: Mapping[str, float]) -> None:
        architecture = architecture_of_model(model)
        self._width = architecture.width
        self._stacks = {stack.name: stack for stack in architecture.stacks}
        self._layers = largest_layers(whole_plan(model))
        self._head_width = shapes_of(model).head_width
        total = {"encoder": 0, "decoder": architecture.width * model.config.vocab_size}
        for name, stack in self._stacks.items():
            for side, weights in self._layer_weights(name).items():
                total[side] += len(stack.layers) * weights
        self._seconds_a_weight = {side: seconds[side] / max(weights, 1) for side, weights in total.items()}

    def part(self, stack: str, kind: PartKind) -> Cost:
        """Returns the cost of one part of the largest layer."""
        return self._cost(self._part_weights(stack, kind))

    def layer(self, stack: str) -> Cost:
        """Returns the cost of the largest layer."""
        return self._cost(self._layer_weights(stack))

    def _cost(self, weights: Weights) -> Cost:
        seconds = sum(self._seconds_a_weight[side] * count for side, count in weights.items())
        return Cost(seconds, sum(weights.values()))

    def _layer_weights(self, stack: str) -> Weights:
        largest = self._layers[stack]
        found = {"encoder": 0, "decoder": 0}
        if largest.heads is None:
            # The two projections of a recurrent cell.
            found[stack] += 2 * self._width**2
        for kind in kinds_of(largest):
            for side, count in self._part_weights(stack, kind).items():
                found[side] += count
        return found

    def _part_weights(self, stack: str, kind: PartKind) -> Weights:
        size = getattr(self._layers[stack], kind)
        if kind == "feed_forward":
            projections = len(self._stacks[stack].layers[0].feed_forward.up) + 1
            return {stack: projections * self._width * size}
        projection = self._width * size * self._head_width
        if kind == "heads":
            return {stack: 4 * projection}
        # The encoder's graph has the keys and values of cross-attentions, the decoder's the queries and outputs.
        return {"encoder": 2 * projection, "decoder": 2 * projection}
