"""Exports to ONNX through optimum, and reshapes its three graphs into the two that our runtime wants.

`encoder.onnx` maps ids and mask to every layer's cross-attention keys and values; `decoder.onnx` maps one token
a row and all caches to logits and new self-attention caches. So no weight is stored in two graphs but the
embedding, and cross-attention caches are computed once a request.
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto
from onnx.numpy_helper import to_array
from onnx.utils import Extractor

from slimseq.compression.errors import BadParameters
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_config
from slimseq.inference.models.layer_shapes import LayerShapes
from slimseq.models_store.errors import BadSource
from slimseq.models_store.places import pip_install

HIDDEN = "encoder_hidden_states"
PREFIX = "cross/"
TWO_GIBIBYTES = 2**31
STANDARD_OUTPUT = 1


def export_with_optimum(source: Path, folder: Path) -> None:
    """Writes `encoder.onnx` and `decoder.onnx`, fp32.

    Raises:
        BadSource: optimum cannot export the model, or its layers have different widths.
        BadParameters: optimum is not installed.
    """
    if LayerShapes.from_config(read_config(source)) is not None:
        raise BadSource("optimum cannot export a model whose layers have different widths; --exporter slimseq can")
    with tempfile.TemporaryDirectory() as scratch:
        graphs = _optimum_export(source, Path(scratch))
        encoder = onnx.load(graphs / "encoder_model.onnx")
        cross = _cross_attention_part(onnx.load(graphs / "decoder_model.onnx"))
        decoder = onnx.load(graphs / "decoder_with_past_model.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    _save(_join(encoder, cross), folder / ENCODER)
    _save(decoder, folder / DECODER)


def _save(model: ModelProto, path: Path) -> None:
    """Writes a graph, with its weights in a `.data` file beside it where one file cannot hold them."""
    onnx.save(model, str(path), save_as_external_data=model.ByteSize() >= TWO_GIBIBYTES, location=path.name + ".data")


def _optimum_export(source: Path, folder: Path) -> Path:
    try:
        from optimum.exporters.onnx import main_export
    except ImportError as error:
        raise BadParameters(
            f"optimum is not installed: {pip_install('compress,optimum')} in an environment of its own; "
            "it needs transformers below 4.58"
        ) from error

    with _quiet_libraries():
        try:
            main_export(
                str(source),
                folder,
                task="text2text-generation-with-past",
                framework="pt",
                dtype="fp32",
                do_validation=False,
                no_post_process=True,
                local_files_only=True,
            )
        except Exception as error:  # optimum raises whatever tracing raises
            raise BadSource(f"{source.name} cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
    return folder


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Hides what optimum prints, which says nothing about the result.

    Native code writes to the file descriptor of standard output, and a command's output must be nothing but its JSON.
    Therefore the descriptor itself leads to `/dev/null` during the block.
    """
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    output, nowhere = os.dup(STANDARD_OUTPUT), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STANDARD_OUTPUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        os.dup2(output, STANDARD_OUTPUT)
        os.close(output)
        os.close(nowhere)
        logging.disable(logging.NOTSET)


def _cross_attention_part(decoder: ModelProto) -> ModelProto:
    """Cuts out of the first-step decoder what computes cross-attention keys and values from encoder states."""
    _read_batch_size_from_encoder(decoder)
    names = [output.name for output in decoder.graph.output if ".encoder." in output.name]
    return Extractor(decoder).extract_model([HIDDEN], names)


def _read_batch_size_from_encoder(decoder: ModelProto) -> None:
    """Lets the nodes that compute a batch size from decoder states compute it from encoder states, of as many rows.

    The keys of each layer are reshaped with the batch size of the layer's input. Without this change, the part with the
    keys would depend on the whole decoder.
    """
    constants = {node.output[0]: to_array(node.attribute[0].t) for node in decoder.graph.node if _is_constant(node)}
    constants |= {tensor.name: to_array(tensor) for tensor in decoder.graph.initializer if not tensor.dims}
    readers: dict[str, list[NodeProto]] = {}
    for node in decoder.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in decoder.graph.node:
        if node.op_type == "Shape" and all(
            reader.op_type == "Gather" and constants.get(reader.input[1]) == 0 for reader in readers[node.output[0]]
        ):
            node.input[0] = HIDDEN


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.attribute[0].name == "value" and not node.attribute[0].t.dims


def _join(encoder: ModelProto, cross: ModelProto) -> ModelProto:
    """Appends the cross-attention part to the encoder. Its outputs keep their names, and all else gets a prefix."""
    # The empty name is that of an optional input that is left out.
    kept = {output.name: output.name for output in cross.graph.output} | {"": ""}
    kept[HIDDEN] = encoder.graph.output[0].name
    joined = ModelProto()
    joined.CopyFrom(encoder)
    for node in cross.graph.node:
        copy = joined.graph.node.add()
        copy.CopyFrom(node)
        copy.name = PREFIX + node.name
        for names in (copy.input, copy.output):
            names[:] = [kept.get(name, PREFIX + name) for name in names]
    for initializer in cross.graph.initializer:
        joined.graph.initializer.add().CopyFrom(initializer)
        joined.graph.initializer[-1].name = PREFIX + initializer.name
    del joined.graph.output[:]
    joined.graph.output.extend(cross.graph.output)
    onnx.checker.check_model(joined)
    return joined
