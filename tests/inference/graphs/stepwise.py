"""Runs exported graphs step by step, and compares their logits and caches with the model's."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache, FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx

# Inputs, the length of the longest one, and the decoder's steps. Both are longer than 12, the greatest distance with a
# bucket of its own in the T5 of the tests.
ROWS, LENGTH, STEPS = 3, 21, 19
LENGTHS = (LENGTH, 9, 2)
MASK = np.array([[int(place < length) for place in range(LENGTH)] for length in LENGTHS], dtype=np.int64)
# Smaller ids are special ones of one family or the other.
FIRST_ID = 4


def randomized(model: Any) -> Any:
    """Gives every parameter values of a size that shows whether it is used, norms and biases among them."""
    torch.manual_seed(1)
    with torch.no_grad():
        # Sinusoidal positions are parameters that nothing trains, and that some models do not save.
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def largest_differences(model: Any, folder: Path, cache: CrossAttentionCache | None = None) -> dict[str, float]:
    """Exports a model and returns how far its graphs are from it, by output: logits and caches without padding.

    A folder that has no `model` yet gets one, as transformers saves it. The default cross-attention cache is the one
    for sentences, in float32.
    """
    cache = cache or FloatCrossAttentionCache()
    if not (folder / "model").exists():
        model.save_pretrained(folder / "model")
    export_onnx(folder / "model", folder / "onnx", cache)
    generator = np.random.default_rng(0)
    sources = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, LENGTH))
    targets = generator.integers(FIRST_ID, model.config.vocab_size, (ROWS, STEPS))
    expected = _outputs_of_model(model.float(), sources, targets)
    found = run_steps(folder / "onnx", sources, targets, cache)
    if set(expected) == {"logits"}:
        # The module of Marian students has no caches.
        found = {"logits": found["logits"]}
    assert set(expected) == set(found)
    differences = {name: np.abs(expected[name] - found[name]) for name in expected if ".decoder." not in name}
    for name in differences:
        if ".encoder." in name:
            # Padding may have any values.
            differences[name] *= MASK[:, None, :, None]
    for name in expected.keys() - differences.keys():
        # The caches of the decoder are the inputs of the last step, before it writes its own keys and values.
        last = STEPS - 1
        differences[name] = np.abs(expected[name][:, :, :last] - found[name][:, :, :last])
    return {name: float(values.max()) for name, values in differences.items()}


def _outputs_of_model(model: Any, sources: Any, targets: Any) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        outputs = model(
            input_ids=torch.tensor(sources),
            attention_mask=torch.tensor(MASK),
            decoder_input_ids=torch.tensor(targets),
            use_cache=True,
        )
    found = {"logits": outputs.logits.numpy()}
    caches = outputs.past_key_values
    if caches is None:
        return found
    for stack, cache in (("decoder", caches.self_attention_cache), ("encoder", caches.cross_attention_cache)):
        for number, layer in enumerate(cache.layers):
            found[f"present.{number}.{stack}.key"] = layer.keys.numpy()
            found[f"present.{number}.{stack}.value"] = layer.values.numpy()
    return found


def run_steps(folder: Path, sources: Any, targets: Any, cache: CrossAttentionCache) -> dict[str, NDArray[Any]]:
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
        output = name.replace("past_key_values.", "present.")
        if cache.are_queries_grouped:
            found[output] = found[output][:, :, 0]
        elif name.endswith("key"):
            # Keys of sentences are stored transposed.
            found[output] = found[output].transpose(0, 1, 3, 2)
    return {"logits": np.stack(logits, axis=1), **found}
