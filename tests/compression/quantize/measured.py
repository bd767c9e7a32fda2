"""How far a quantized artifact is from its original: along the sentences' targets, by the graphs themselves."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from slimseq.compression.context import Context
from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.inference.engine.graph_runs import pad
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Manifest, Task
from tests.compression.tiny import tiny_set, tiny_store
from tests.families import Family

# Of the graph of two products by constant matrices.
PRODUCTS = ("first", "second")

GRAPHS = ("encoder.onnx", "decoder.onnx")
MAX_STEPS = 16


def with_outlier_channels(folder: Path, norms: Sequence[str], channels: Sequence[int]) -> Path:
    """Returns the folder of a random T5 in which some norms make some channels 60 times as large."""
    context = tiny_store(folder, Family.T5)
    source = folder / "source"
    shutil.copytree(context.store.folder(Task.TRANSLATION, "original"), source)
    tensors = load_file(source / "model.safetensors")
    for norm in norms:
        factors = torch.ones_like(tensors[norm])
        factors[list(channels)] = 60
        tensors[norm] = tensors[norm] * factors
    save_file(tensors, source / "model.safetensors")
    return source


def logits(folder: Path, artifact: Path) -> NDArray[np.float32]:
    """All next-token logits that the graphs in a folder give, `(target tokens, vocabulary)`."""
    encoder, decoder = (open_session(folder / name) for name in GRAPHS)
    dataset, configuration = tiny_set(artifact), read_configuration(artifact)
    pairs = [dataset[index] for index in range(len(dataset))]
    sources, mask = pad([pair.source for pair in pairs], configuration.pad_id)
    inputs = [[configuration.decoder_start_id, *pair.target[:-1]][:MAX_STEPS] for pair in pairs]
    tokens, is_target = pad(inputs, configuration.pad_id)
    batch = TeacherForcedBatch(sources, mask, tokens)
    run = enumerate(steps(decoder, batch, cross_feeds(encoder, batch)))
    return np.concatenate([values["logits"][is_target[:, step] > 0] for step, (_, values) in run])


def error(context: Context, manifest: Manifest, scratch: Path) -> float:
    """Mean squared difference to the original's logits, as a share of their variance."""
    original = context.store.folder(Task.TRANSLATION, "original")
    if not (scratch / "fp32").exists():
        export_onnx(original, scratch / "fp32", FloatCrossAttentionCache())
    wanted = logits(scratch / "fp32", original)
    got = logits(context.store.folder(Task.TRANSLATION, manifest.variant) / "onnx", original)
    return float(((got - wanted) ** 2).mean() / wanted.var())


def operators(context: Context, manifest: Manifest) -> Counter[str]:
    """How often each operator is in the two graphs."""
    folder = context.store.folder(manifest.task, manifest.variant) / "onnx"
    graphs = [onnx.load(folder / name, load_external_data=False).graph for name in GRAPHS]
    return Counter(node.op_type for graph in graphs for node in graph.node)
