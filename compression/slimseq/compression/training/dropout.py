"""Sets the dropout rate for one training run, and restores it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def dropout_rate(model: torch.nn.Module, rate: float | None, is_attention_kept: bool = False) -> Iterator[None]:
    """Sets the dropout of hidden states for the block; dropout of attention weights and activations is not raised.

    Args:
        model: a T5 or BART, whose modules hold their rates as `nn.Dropout` or as numbers.
        rate: of hidden states, 0 to below 1; None keeps the model's own.
        is_attention_kept: whether attention weights have no dropout, which losses on them need.
    """
    before: list[tuple[torch.nn.Module, str, float]] = []
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            if rate is not None:
                before.append((module, "p", module.p))
                module.p = rate
            continue
        # Layers of BART and all attentions have plain numbers; only an attention has a key projection.
        is_attention = hasattr(module, "k_proj") or hasattr(module, "k")
        for name in ("dropout", "activation_dropout", "attention_dropout"):
            value = getattr(module, name, None)
            if isinstance(value, int | float):
                before.append((module, name, value))
                holds_hidden_states = name == "dropout" and not is_attention
                if is_attention_kept and is_attention:
                    setattr(module, name, 0.0)
                elif rate is not None:
                    setattr(module, name, rate if holds_hidden_states else min(value, rate))
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
