"""Quantizes an artifact to int8: weights per output channel, activations dynamically, by ONNX Runtime's kernels.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (arXiv 1712.05877); activations get a
scale at run time from each tensor's own range, so no calibration is needed.
"""

import logging
import re
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from compression.context import Context, library_versions
from compression.errors import BadParameters
from compression.export.embedding import quantize_embeddings
from compression.export.onnx import export_onnx
from compression.publish import Draft, copy_tokenizer, derived, publishing
from evaluation.host import cpu_flags, has_vnni
from models_store.configuration import read_configuration
from models_store.manifest import Family, Manifest, Step, Task
from models_store.runtimes.onnxruntime import DECODER, ENCODER

GRAPHS = (ENCODER, DECODER)
# Matrix products that lose most when their inputs are rounded with one scale a tensor, found on dev splits
# (docs/decisions/001-float-layers.md): a few tokens' outliers set the scale for all.
SENSITIVE_LAYERS = {
    Family.T5: (r"^encoder/block\.\d+/layer\.1/\w+/wi(_\d)?/",),
    Family.BART: (r"^encoder/layers\.\d+/fc2/",),
}


@dataclass(frozen=True)
class QuantizeOptions:
    """How to round.

    Args:
        per_channel: one scale for each output channel instead of one a matrix.
        reduce_range: 7-bit weights, which keep CPUs without VNNI from saturating their 16-bit sums.
        float_layers: patterns of matrix products to leave in float, searched in names such as
            `encoder/block.0/layer.1/DenseReluDense/wi/MatMul`; None leaves those known to be sensitive.
    """

    per_channel: bool = True
    reduce_range: bool = not has_vnni()
    float_layers: tuple[str, ...] | None = None


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
    if options.float_layers is None:
        options = replace(options, float_layers=SENSITIVE_LAYERS[parent.family])
    if not parent.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to quantize from; start from one that has")
    if name == variant:
        raise BadParameters(f"{task}/{variant} cannot be quantized onto itself; give another --name")
    context.store.verify(task, variant, only="safetensors")
    source = context.store.folder(task, variant)
    started = time.monotonic()
    step = Step(
        technique="quantize",
        parameters={"scheme": "onnx-int8-dynamic", **asdict(options), "cpu_flags": cpu_flags()},
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
    """Returns the graph with every product by a constant matrix in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    rounded = path.with_suffix(".int8.onnx")
    products = [node.name for node in onnx.load(path).graph.node if node.op_type == "MatMul"]
    patterns = [re.compile(pattern) for pattern in options.float_layers or ()]
    # The encoder's nodes do not say that they are the encoder's; the decoder's do.
    names = {name: name.lstrip("/") if path.name == DECODER else path.stem + name for name in products}
    in_float = [name for name in products if any(pattern.search(names[name]) for pattern in patterns)]
    logging.disable(logging.WARNING)  # it advises optimizations that the runtime does itself on loading
    try:
        quantize_dynamic(
            path,
            rounded,
            op_types_to_quantize=["MatMul"],
            per_channel=options.per_channel,
            reduce_range=options.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=in_float,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(rounded)


def _copy_configuration(source: Path, draft: Draft) -> None:
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            (draft.folder / name).write_bytes((source / name).read_bytes())
    copy_tokenizer(source, draft.folder)
