"""Quantizes an artifact to int8: weights per output channel, activations dynamically, by ONNX Runtime's kernels.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (arXiv 1712.05877); activations get a
scale at run time from each tensor's own range, so no calibration is needed. Layers that lose too much that way get
one weight scale for each block of a channel, and inputs that are not rounded a tensor at a time.
"""

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from compression.context import Context, library_versions
from compression.errors import BadParameters
from compression.export.embedding import quantize_embeddings
from compression.export.onnx import export_onnx, quiet_libraries
from compression.publish import Draft, check_name, copy_tokenizer, derived, publishing
from evaluation.host import cpu_flags, has_vnni
from models_store.configuration import read_configuration
from models_store.manifest import Family, Manifest, Step, Task
from models_store.runtimes.onnxruntime import DECODER, ENCODER

GRAPHS = (ENCODER, DECODER)
BLOCK_WEIGHTS = 32
# How MatMulNBits computes: 0 in float, 4 with inputs rounded in blocks too, which is faster for the few rows of a step.
ACCURACY_LEVELS = {ENCODER: 0, DECODER: 4}
# Matrix products that lose most when their inputs get one scale a tensor, found on dev splits
# (docs/decisions/001-sensitive-layers.md): a few tokens' outliers set the scale for the whole batch.
SENSITIVE_LAYERS = {
    Family.T5: (r"^encoder/.*/DenseReluDense/w", r"^decoder/.*/DenseReluDense/wo/"),
    Family.BART: (r"^encoder/.*/fc[12]/", r"^decoder/.*/fc2/"),
}


@dataclass(frozen=True)
class QuantizeOptions:
    """How to round.

    Args:
        per_channel: one scale for each output channel instead of one a matrix.
        reduce_range: 7-bit weights, which keep CPUs without VNNI from saturating their 16-bit sums.
        sensitive_layers: patterns of matrix products to round in blocks instead, with inputs in float (encoder) or
            in blocks (decoder); searched in names such as `encoder/block.0/layer.1/DenseReluDense/wi/MatMul`. None
            takes those known to be sensitive.
    """

    per_channel: bool = True
    reduce_range: bool = not has_vnni()
    sensitive_layers: tuple[str, ...] | None = None


def quantize(
    context: Context, task: Task, variant: str, name: str = "quantized", options: QuantizeOptions | None = None
) -> Manifest:
    """Makes an int8 ONNX artifact of one that has safetensors.

    Args:
        context: the store.
        task: the artifact's task.
        variant: the artifact to start from.
        name: the new artifact's name.
        options: how to round; by default as this CPU wants it.

    Returns:
        The new artifact's manifest.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does.
        BadParameters: the artifact has no safetensors, or it would replace itself.
    """
    options = options or QuantizeOptions()
    parent = context.store.manifest(task, variant)
    if options.sensitive_layers is None:
        options = replace(options, sensitive_layers=SENSITIVE_LAYERS[parent.family])
    if not parent.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to quantize from; start from one that has")
    if name == variant:
        raise BadParameters(f"{task}/{variant} cannot be quantized onto itself; give another --name")
    check_name(context, task, name)
    context.store.verify(task, variant, only="safetensors")
    source = context.store.folder(task, variant)
    started = time.monotonic()
    step = Step(
        technique="quantize",
        parameters={
            "scheme": "onnx-int8-dynamic",
            "block_weights": BLOCK_WEIGHTS,
            **asdict(options),
            "cpu_flags": cpu_flags(),
        },
        parent=parent.digest,
        versions=library_versions(),
        device="cpu",
    )
    description = f"{parent.description} Quantized to int8."
    with context.progress() as progress, publishing(context.store, derived(parent, name, description, step)) as draft:
        bar = progress.add_task(f"quantize {task}/{variant}", total=3, status="exporting to ONNX")
        with tempfile.TemporaryDirectory() as scratch:
            export_onnx(source, Path(scratch))
            progress.update(bar, advance=1, status="rounding matrices")
            graphs = {draft.folder / "onnx" / name: _round(Path(scratch) / name, options) for name in GRAPHS}
        progress.update(bar, advance=1, status="rounding embeddings")
        (draft.folder / "onnx").mkdir()
        quantize_embeddings(graphs, read_configuration(source).vocabulary)
        _copy_configuration(source, draft)
        draft.parameters, draft.nonzero_parameters = parent.size.parameters, parent.size.nonzero_parameters
        finished = step.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
        draft.identity = replace(draft.identity, lineage=[*parent.lineage, finished])
        progress.update(bar, advance=1, status="done")
    return context.store.manifest(task, name)


def _round(path: Path, options: QuantizeOptions) -> onnx.ModelProto:
    """Returns the graph with every product by a constant matrix in int8, the sensitive ones in blocks."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    rounded = path.with_suffix(".int8.onnx")
    with quiet_libraries():  # they advise optimizations that the runtime does itself on loading
        quantize_dynamic(
            path,
            rounded,
            op_types_to_quantize=["MatMul"],
            per_channel=options.per_channel,
            reduce_range=options.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_sensitive(path, options.sensitive_layers or ()),
            extra_options={"MatMulConstBOnly": True},
        )
        blocks = MatMulNBitsQuantizer(
            onnx.load(rounded),
            bits=8,
            block_size=BLOCK_WEIGHTS,
            is_symmetric=True,
            accuracy_level=ACCURACY_LEVELS[path.name],
        )
        blocks.process()
    model: onnx.ModelProto = blocks.model.model
    return model


def _sensitive(path: Path, patterns: Sequence[str]) -> list[str]:
    """Returns the names of a graph's matrix products that match one of the patterns."""
    products = [node.name for node in onnx.load(path).graph.node if node.op_type == "MatMul"]
    # The encoder's nodes do not say that they are the encoder's; the decoder's do.
    before = path.stem if path.name == ENCODER else ""
    searched = {name: (before + name).lstrip("/") for name in products}
    return [name for name in products if any(re.search(pattern, searched[name]) for pattern in patterns)]


def _copy_configuration(source: Path, draft: Draft) -> None:
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            (draft.folder / name).write_bytes((source / name).read_bytes())
    copy_tokenizer(source, draft.folder)
