from pathlib import Path
from typing import Literal

import pytest
import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.options import check_sparsity
from slimseq.compression.prune.unstructured import held_sparse, sparsity_masks
from slimseq.compression.training.data.batches import one_pass
from slimseq.compression.training.forward import logits_of
from slimseq.compression.training.schedule import Bounds
from slimseq.compression.training.trainer import TrainingOptions, train
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("criterion", ["wanda", "magnitude"])
def test_every_row_of_the_stacks_loses_its_share(
    tmp_path: Path, family: Family, criterion: Literal["wanda", "magnitude"]
) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model = tiny_model(family, tokenizer)

    masks = sparsity_masks(model, tiny_set(tokenizer), tiny_context(tmp_path), criterion, 0.75, "")

    names = {
        f"{name}.weight"
        for stack in architecture_of_model(model).stacks
        for x in stack.layers
        for name in x.projections
    }
    assert masks.keys() == names
    for mask in masks.values():
        assert torch.all(mask.sum(1) == mask.shape[1] // 4)


def test_magnitude_keeps_the_largest_of_every_group(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer)

    masks = sparsity_masks(model, tiny_set(tokenizer), tiny_context(tmp_path), "magnitude", 0, "2:4")

    for name, mask in masks.items():
        groups = model.get_parameter(name).detach().abs().reshape(-1, 4)
        kept = mask.reshape(-1, 4)
        assert torch.all(kept.sum(1) == 2)
        lost = groups.masked_fill(kept, 0).amax(1)
        assert torch.all(lost <= groups.masked_fill(~kept, torch.inf).amin(1))


def test_wanda_weighs_by_the_inputs(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    model, dataset = tiny_model(Family.BART, tokenizer), tiny_set(tokenizer)
    # Keys of cross-attention read the encoder's positions, where another mask counts.
    name = "model.decoder.layers.1.encoder_attn.k_proj"
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach().flatten(0, -2))
    )
    with torch.no_grad():
        # Rows alone have no padding.
        for batch in one_pass(dataset, 1, 1):
            logits_of(model, batch)
    handle.remove()
    scores = model.get_parameter(f"{name}.weight").detach().abs() * torch.cat(seen).norm(dim=0)

    mask = sparsity_masks(model, dataset, tiny_context(tmp_path), "wanda", 0.5, "")[f"{name}.weight"]

    assert torch.all(scores.masked_fill(mask, 0).amax(1) <= scores.masked_fill(~mask, torch.inf).amin(1) * 1.0001)


@pytest.mark.parametrize("family", list(Family))
def test_training_leaves_zeros_at_zero_and_moves_the_rest(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model, dataset, context = tiny_model(family, tokenizer), tiny_set(tokenizer), tiny_context(tmp_path)
    options = TrainingOptions(
        bounds=Bounds(max_steps=4), learning_rate=1e-2, tokens_per_batch=200, warmup_steps=0, weight_decay=0.1
    )
    masks = sparsity_masks(model, dataset, context, "magnitude", 0, "4:8")

    with held_sparse(model, masks):
        before = {name: model.get_parameter(name).detach().clone() for name in masks}
        train(model, dataset, options, context)

    for name, mask in masks.items():
        now = model.get_parameter(name).detach()
        assert torch.all(now[~mask] == 0)
        assert not torch.equal(now[mask], before[name][mask])
    assert not any(parameter._backward_hooks for parameter in model.parameters())


@pytest.mark.parametrize("pattern", ["4:2", "0:4", "2/4", "2:"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadParameters, match="--pattern"):
        check_sparsity("wanda", 0, pattern)


@pytest.mark.parametrize(
    ("criterion", "sparsity", "pattern"), [("wanda", 1.0, ""), ("wanda", 0.5, "2:4"), ("taylor", 0.5, "")]
)
def test_contradictions_are_refused(criterion: str, sparsity: float, pattern: str) -> None:
    with pytest.raises(BadParameters, match=r"--sparsity|--criterion"):
        check_sparsity(criterion, sparsity, pattern)


def test_a_pattern_that_does_not_fit_the_rows_names_the_layer(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, feed_forward=60)

    with pytest.raises(BadParameters, match=r"--pattern 4:8 does not fit encoder.block.0.*wo, whose rows have 60"):
        sparsity_masks(model, tiny_set(tokenizer), tiny_context(tmp_path), "magnitude", 0, "4:8")
