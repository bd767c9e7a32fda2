"""Runs exported graphs step by step beside the model they were made of."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compression.quantization.sensitivity import open_session
from models_store.graphs.export import export_onnx

ROWS, LENGTH, STEPS = 3, 21, 19
LENGTHS = (LENGTH, 9, 2)
# Below it, ids stand for something: 0 to 3 are special ids of one family or the other.
FIRST_ID = 4


def randomized(model: Any) -> Any:
    """Gives every parameter values of a size that shows whether it is used, norms and biases among them."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def largest_differences(model: Any, folder: Path) -> dict[str, float]:
    """Exports a model and returns how far its graphs are from it, by output: logits and caches without padding."""
    model.save_pretrained(folder / "model")
    export_onnx(folder / "model", folder / "onnx")
    generator = np.random.default_rng(0)
    sources = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, LENGTH))
    targets = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, STEPS))
    mask = np.array([[int(place < length) for place in range(LENGTH)] for length in LENGTHS], dtype=np.int64)
    wanted = _wanted(model.float(), sources, mask, targets)
    got = _stepped(folder / "onnx", sources, mask, targets)
    assert set(wanted) == set(got)
    for name in wanted:
        if ".encoder." in name:
            wanted[name], got[name] = (values * mask[:, None, :, None] for values in (wanted[name], got[name]))
    return {name: float(np.abs(wanted[name] - got[name]).max()) for name in wanted}


def _wanted(model: Any, sources: Any, mask: Any, targets: Any) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        outputs = model(
            input_ids=torch.tensor(sources),
            attention_mask=torch.tensor(mask),
            decoder_input_ids=torch.tensor(targets),
            use_cache=True,
        )
    caches = outputs.past_key_values
    found = {"logits": outputs.logits.numpy()}
    for stack, cache in (("decoder", caches.self_attention_cache), ("encoder", caches.cross_attention_cache)):
        for number, layer in enumerate(cache.layers):
            found[f"present.{number}.{stack}.key"] = layer.keys.numpy()
            found[f"present.{number}.{stack}.value"] = layer.values.numpy()
    return found


def _stepped(folder: Path, sources: Any, mask: Any, targets: Any) -> dict[str, NDArray[Any]]:
    encoder, decoder = open_session(folder / "encoder.onnx"), open_session(folder / "decoder.onnx")
    cross = dict(zip(_names(encoder), encoder.run(None, {"input_ids": sources, "attention_mask": mask}), strict=True))
    fixed = {name.replace("present.", "past_key_values."): values for name, values in cross.items()}
    own = {
        entry.name: np.zeros((ROWS, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        for entry in decoder.get_inputs()
        if ".decoder." in entry.name
    }
    logits = []
    for step in range(STEPS):
        feeds = {"input_ids": targets[:, step : step + 1], "encoder_attention_mask": mask, **fixed, **own}
        outputs = dict(zip(_names(decoder), decoder.run(None, feeds), strict=True))
        logits.append(outputs.pop("logits"))
        own = {name.replace("present.", "past_key_values."): values for name, values in outputs.items()}
    return {"logits": np.concatenate(logits, axis=1), **cross, **outputs}


def _names(session: Any) -> list[str]:
    return [output.name for output in session.get_outputs()]
