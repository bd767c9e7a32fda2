"""Checkpoints of training runs: safetensors and JSON, written to a temporary folder and renamed.

A checkpoint has the whole state of a run: weights, AdamW's moments, random state, position in the data, losses, and the
best weights so far. A resumed run therefore ends with the same weights as an uninterrupted one. `trainer` decides when
to save. `unfinished` has the names of the folders and finds what interrupted runs left.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.batches import Position
from slimseq.compression.train.unfinished import CURRENT, PREVIOUS, STATE, WRITING

BEST = "best.safetensors"
# What AdamW's state has for each parameter: number of steps, mean of gradients, mean of squared gradients.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
# Bytes of a checkpoint for each parameter: the weight and two moments in fp32.
BYTES_PER_PARAMETER = 12
# The same parameter in the best weights so far, in fp32.
BEST_BYTES_PER_PARAMETER = 4

Weights = dict[str, torch.Tensor]


@dataclass
class RunProgress:
    """The progress of a run, in values that JSON can hold. All counts include the runs that this one resumed."""

    steps: int = 0
    examples: int = 0
    """Pairs trained on, with repetitions."""
    tokens: int = 0
    """Ids of sources and targets trained on, without padding."""
    seconds: float = 0.0
    position: Position = field(default_factory=Position)
    """Position of the next batch in the data."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each step, in nats a target token."""
    dev: str | None = None
    """Hash of the dev data on which the losses below were measured."""
    dev_loss_before: float | None = None
    """Loss on dev data before the first step."""
    measured_tokens: int = 0
    """`tokens` at the last measurement of the loss on dev data."""
    best_loss: float | None = None
    """Lowest loss on dev data after a step so far. None before the first measurement."""
    best_step: int = 0
    """Step of the lowest loss."""


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: RunProgress,
    identity: dict[str, Any],
    best: Weights | None = None,
) -> None:
    """Writes a checkpoint atomically: after a crash, the previous or the new one is there.

    Args:
        folder: of the run. The checkpoint is its subfolder `checkpoint`.
        model: its parameters are written in their own dtype, tied ones once.
        optimizer: an AdamW.
        progress: of the run.
        identity: JSON values that a resumed run must have too.
        best: the weights with the lowest loss on dev data so far, if there are any.
    """
    writing = folder / WRITING
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    try:
        _write(writing, model, optimizer, best)
        state = {"identity": identity, "progress": asdict(progress)}
        (writing / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
    except BaseException:
        # Half a checkpoint would fill a disk that has no room for a whole one.
        shutil.rmtree(writing, ignore_errors=True)
        raise
    current, previous = folder / CURRENT, folder / PREVIOUS
    if current.exists():
        shutil.rmtree(previous, ignore_errors=True)
        current.replace(previous)
    writing.replace(current)
    shutil.rmtree(previous, ignore_errors=True)


def _write(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, best: Weights | None) -> None:
    named = dict(model.named_parameters())
    save_file(
        {name: parameter.detach().contiguous() for name, parameter in named.items()}, folder / "model.safetensors"
    )
    moments = {
        f"{moment}.{name}": torch.as_tensor(optimizer.state[parameter][moment]).contiguous()
        for name, parameter in named.items()
        for moment in MOMENTS
        if moment in optimizer.state.get(parameter, {})
    }
    save_file(moments, folder / "optimizer.safetensors")
    save_file(_random_state(), folder / "random.safetensors")
    if best is not None:
        save_file(best, folder / BEST)


def resume(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> tuple[RunProgress, Weights | None] | None:
    """Loads a checkpoint into a model of its shape and a fresh AdamW. Returns its progress and its best weights.

    Returns None if there is no checkpoint.

    Raises:
        BadParameters: the checkpoint is of another run, or its files are damaged.
    """
    checkpoint = next((folder / name for name in (CURRENT, PREVIOUS) if (folder / name).exists()), None)
    if checkpoint is None:
        return None
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        weights = load_file(checkpoint / "model.safetensors")
        moments = load_file(checkpoint / "optimizer.safetensors")
        random = load_file(checkpoint / "random.safetensors")
        best = load_file(checkpoint / BEST) if (checkpoint / BEST).exists() else None
        _refuse_other_run(folder, state["identity"], identity)
        progress = RunProgress(**state["progress"] | {"position": Position(**state["progress"]["position"])})
        with torch.no_grad():
            for name, parameter in dict(model.named_parameters()).items():
                parameter.copy_(weights[name])
                saved = {moment: moments[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in moments}
                if saved:
                    # `step` stays on the CPU, as AdamW keeps it.
                    optimizer.state[parameter] = {
                        moment: value if moment == "step" else value.to(parameter) for moment, value in saved.items()
                    }
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadParameters(
            f"{checkpoint} cannot be resumed ({error}); remove it to start anew, or give --anew"
        ) from error
    _restore_random_state(random)
    return progress, best


def weights_of(model: torch.nn.Module) -> Weights:
    """Returns a copy of a model's weights on the CPU, tied ones once."""
    return {name: parameter.detach().to("cpu", copy=True).contiguous() for name, parameter in model.named_parameters()}


def set_weights(model: torch.nn.Module, weights: Weights) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def bytes_needed(folder: Path, model: torch.nn.Module, has_best: bool) -> int:
    """Returns the bytes that a run's checkpoints need on the disk at most, beyond what is there already.

    `has_best` says whether the best weights are kept too.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    checkpoint_bytes = parameters * (BYTES_PER_PARAMETER + (BEST_BYTES_PER_PARAMETER if has_best else 0))
    # While a new checkpoint is written, the previous one stays.
    return checkpoint_bytes if (folder / CURRENT).exists() else 2 * checkpoint_bytes


def _refuse_other_run(folder: Path, saved: dict[str, Any], identity: dict[str, Any]) -> None:
    # JSON makes lists of tuples, so the saved identity can only be compared with values that went through JSON too.
    expected = json.loads(json.dumps(identity))
    different = [
        f"{name} {saved.get(name)!r}, now {expected.get(name)!r}"
        for name in sorted(saved.keys() | expected.keys())
        if saved.get(name) != expected.get(name)
    ]
    if different:
        raise BadParameters(
            f"{folder} holds a checkpoint of another run ({'; '.join(different)}); finish that one, "
            "remove the folder, or give --anew to start anew"
        )


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda.{index}": value for index, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def _restore_random_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda.{index}"], index)
