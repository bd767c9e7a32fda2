"""What a manifest says of importance: a few numbers a layer, for a report's plot."""

from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.layers import LayerOrder
from slimseq.compression.prune.shape import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DIGITS = 4


def importance_summary(
    model: "PreTrainedModel", shape: Shape, importance: Importance, order: LayerOrder
) -> dict[str, list[dict[str, Any]]]:
    """Returns records of layers' and parts' importance.

    Args:
        model: what was measured, before any cut.
        shape: what it is cut to.
        importance: of its parts.
        order: of its layers.

    Returns:
        `channels` and `heads`: the mean score of a part in each layer and what share of the layer's sum the best parts
        hold that stay (0 where the layer goes). `layers`: whether each stays and, where that was measured, by how many
        nats the loss rises when it is skipped. Layers are named such as `decoder.3`, attentions `decoder.3.cross`.
    """
    channels: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    for stack in anatomy_of(model).stacks:
        kept = order.kept(stack.name, shape.layers[stack.name])
        rises = order.rises.get(stack.name, [])
        for index, layer in enumerate(stack.layers):
            name, stays = f"{stack.name}.{index}", index in kept
            keep = shape.feed_forward[stack.name] if stays else 0
            channels.append({"layer": name, **_mean_and_share(importance.channels[layer.feed_forward.down], keep)})
            for kind, attention in zip(("self", "cross"), layer.attentions, strict=False):
                scores = importance.heads[attention.output]
                heads.append({"layer": f"{name}.{kind}", **_mean_and_share(scores, shape.heads if stays else 0)})
            rise = {"loss_rise": round(rises[index], DIGITS)} if rises else {}
            layers.append({"layer": name, "stays": stays, **rise})
    return {"channels": channels, "heads": heads, "layers": layers}


def _mean_and_share(scores: torch.Tensor, keep: int) -> dict[str, float]:
    total = float(scores.sum())
    share = float(scores.topk(keep).values.sum()) / total if total else keep / len(scores)
    return {"mean": float(f"{float(scores.mean()):.{DIGITS}g}"), "kept_share": round(share, DIGITS)}
