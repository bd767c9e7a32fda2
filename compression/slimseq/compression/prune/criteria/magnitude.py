"""Importance by weights alone: the L2 norm of all that a part is made of. Needs no data."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import Importance, residual_readers, residual_scores, weight_of
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.inference.models.architecture import Attention, FeedForward

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts by the L2 norm of their weights (Li et al. 2017, https://arxiv.org/abs/1608.08710).

    A channel is its rows of the projections up and its column of the one down; a head its rows of query, key and
    value and its columns of the output; a residual channel (BART) what reads it after each layer norm, every norm
    counting the same.
    """
    architecture = architecture_of_model(model)

    def channel_scores(part: FeedForward) -> torch.Tensor:
        squares = weight_of(model, part.down).float().square().sum(0)
        for up in part.up:
            squares = squares + weight_of(model, up).float().square().sum(1)
        return squares.sqrt().cpu()

    def head_scores(attention: Attention, width: int) -> torch.Tensor:
        squares = weight_of(model, attention.output).float().square().sum(0)
        for name in (attention.query, attention.key, attention.value):
            squares = squares + weight_of(model, name).float().square().sum(1)
        return squares.reshape(-1, width).sum(1).sqrt().cpu()

    return Importance(
        {layer.feed_forward.down: channel_scores(layer.feed_forward) for layer in architecture.layers},
        {
            attention.output: head_scores(attention, attention.heads.width)
            for stack in architecture.stacks
            for layer in stack.layers
            for attention in layer.attentions
        },
        residual_scores(
            {
                norm: torch.cat([weight_of(model, name) for name in names]).norm(dim=0)
                for norm, names in residual_readers(architecture).items()
            }
        ),
    )
