"""Checkpoints of training runs: safetensors and JSON, written to a temporary folder and renamed.

A checkpoint has the whole state of a run (weights, AdamW's moments, random state, position in the data, losses, the
best weights so far), so that a resumed run ends with the same weights as an uninterrupted one.
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
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
# Bytes of a checkpoint for each parameter: the weight and two moments in fp32; and the weight of the best state.
BYTES_PER_PARAMETER = 12
BEST_BYTES_PER_PARAMETER = 4

Weights = dict[str, torch.Tensor]


@dataclass
class RunProgress:
    """The progress of a run, in plain values.

    Pairs are counted with repetitions, `tokens` are ids of both sides without padding, `seconds` are those of earlier
    runs too, `position` is that of the next batch, and `losses` are the mean loss of each step, in nats a target token.

    `dev` is the hash of the dev data, whose loss was `dev_loss_before` the run, was last measured at `measured_tokens`,
    and was lowest, `best_loss`, at `best_step`; None where none was measured.
    """

    steps: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    position: Position = field(default_factory=Position)
    losses: list[float] = field(default_factory=list)
    dev: str | None = None
    dev_loss_before: float | None = None
    measured_tokens: int = 0
    best_loss: float | None = None
    best_step: int = 0


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: RunProgress,
    identity: dict[str, Any],
    best: Weights | None = None,
) -> None:
    """Writes a checkpoint atomically: after a crash, the previous or the new one is there.

    It is the subfolder `checkpoint` of the run's folder. Parameters are written in their own dtype, tied ones once. A
    resumed run must have the same `identity`, JSON values. `best` are the weights of the state with the lowest loss on
    dev data, if there is one.
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
    """Loads a checkpoint into a model of its shape and a fresh AdamW; returns its progress and its best weights.

    It is None where there is no checkpoint.

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
    """Returns the bytes that a run's checkpoints need on the disk at most, beyond what is there.

    There are two while one is written. `has_best` says whether the best weights are kept too.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = parameters * (BYTES_PER_PARAMETER + (BEST_BYTES_PER_PARAMETER if has_best else 0))
    return size if (folder / CURRENT).exists() else 2 * size


def _refuse_other_run(folder: Path, saved: dict[str, Any], identity: dict[str, Any]) -> None:
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
