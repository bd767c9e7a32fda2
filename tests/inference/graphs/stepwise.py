"""Runs exported graphs step by step beside the model they were made of."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache, FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx

ROWS, LENGTH, STEPS = 3, 21, 19
LENGTHS = (LENGTH, 9, 2)
MASK = np.array([[int(place < length) for place in range(LENGTH)] for length in LENGTHS], dtype=np.int64)
# Below it, ids stand for something: 0 to 3 are special ids of one family or the other.
FIRST_ID = 4


def randomized(model: Any) -> Any:
    """Gives every parameter values of a size that shows whether it is used, norms and biases among them."""
    torch.manual_seed(1)
    with torch.no_grad():
        # Sinusoidal positions are parameters too, that nothing trains and some models do not save.
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def largest_differences(model: Any, folder: Path, sources_kept: CrossAttentionCache | None = None) -> dict[str, float]:
    """Exports a model and returns how far its graphs are from it, by output: logits and caches without padding.

    A folder that has no `model` yet gets one, as transformers saves it. Cross-attention caches floats by default.
    """
    kept = sources_kept or FloatCrossAttentionCache()
    if not (folder / "model").exists():
        model.save_pretrained(folder / "model")
    export_onnx(folder / "model", folder / "onnx", kept)
    generator = np.random.default_rng(0)
    sources = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, LENGTH))
    targets = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, STEPS))
    wanted = _wanted(model.float(), sources, targets)
    got = stepped(folder / "onnx", sources, targets, kept)
    if set(wanted) == {"logits"}:
        # The module has no caches.
        got = {"logits": got["logits"]}
    assert set(wanted) == set(got)
    for name in wanted:
        if ".encoder." in name:
            wanted[name], got[name] = (values * MASK[:, None, :, None] for values in (wanted[name], got[name]))
        if ".decoder." in name:
            # The last step's inputs: its own keys and values are not in them yet.
            wanted[name], got[name] = (values[:, :, : STEPS - 1] for values in (wanted[name], got[name]))
    return {name: float(np.abs(wanted[name] - got[name]).max()) for name in wanted}


def _wanted(model: Any, sources: Any, targets: Any) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        outputs = model(
            input_ids=torch.tensor(sources),
            attention_mask=torch.tensor(MASK),
            decoder_input_ids=torch.tensor(targets),
            use_cache=True,
        )
    caches, found = outputs.past_key_values, {"logits": outputs.logits.numpy()}
    if caches is None:
        return found
    for stack, cache in (("decoder", caches.self_attention_cache), ("encoder", caches.cross_attention_cache)):
        for number, layer in enumerate(cache.layers):
            found[f"present.{number}.{stack}.key"] = layer.keys.numpy()
            found[f"present.{number}.{stack}.value"] = layer.values.numpy()
    return found


def stepped(folder: Path, sources: Any, targets: Any, kept: CrossAttentionCache) -> dict[str, NDArray[Any]]:
    """Returns logits and caches of all steps, the caches as transformers lays them out."""
    encoder, decoder = open_session(folder / "encoder.onnx"), open_session(folder / "decoder.onnx")
    batch = TeacherForcedBatch(sources, MASK, targets)
    cross = cross_feeds(encoder, batch)
    logits, own = [], {}
    for feeds, outputs in steps(decoder, batch, cross):
        logits.append(outputs["logits"])
        own = {name: values[:, :, 0] for name, values in feeds.items() if ".decoder." in name and values.ndim == 5}
    sources_of = {name: values for name, values in cross.items() if ".encoder." in name}
    found = {name.replace("past_key_values.", "present."): values for name, values in {**own, **sources_of}.items()}
    for name in sources_of:
        turned = name.replace("past_key_values.", "present.")
        if kept.are_queries_grouped:
            found[turned] = found[turned][:, :, 0]
        elif name.endswith("key"):
            found[turned] = found[turned].transpose(0, 1, 3, 2)
    return {"logits": np.stack(logits, axis=1), **found}
