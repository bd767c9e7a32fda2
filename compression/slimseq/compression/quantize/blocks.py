"""What the weight-only schemes share: weights in blocks that share a scale, activations in float (`MatMulNBits`)."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.export.quiet import quiet_libraries, unchanged_logging
from slimseq.compression.quantize.block_embedding import Blocks, quantize_block_embeddings
from slimseq.compression.quantize.graphs import write_graphs
from slimseq.compression.quantize.protocol import Work

# Float inputs and sums. Levels above would round the inputs too.
ACCURACY_LEVEL = 1


def write_blocks(work: Work, folder: Path, bits: int) -> dict[str, Any]:
    """Writes `onnx/` with all matrices and the embedding in blocks, as `Scheme.write` says."""
    options = work.options
    return write_graphs(work, folder, lambda *_: BlockQuantizer(Blocks(bits, options.block_size, options.symmetric)))


@dataclass(frozen=True)
class BlockQuantizer:
    """Rounds graphs in blocks along the input's dimension."""

    blocks: Blocks

    def round(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with products by constant matrices as `MatMulNBits`."""
        with unchanged_logging():
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        with quiet_libraries():
            quantizer = MatMulNBitsQuantizer(
                onnx.load(path),
                bits=self.blocks.bits,
                block_size=self.blocks.size,
                is_symmetric=self.blocks.is_symmetric,
                accuracy_level=ACCURACY_LEVEL,
                nodes_to_exclude=list(in_float),
            )
            quantizer.process()
        model: onnx.ModelProto = quantizer.model.model
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs over one embedding in blocks."""
        quantize_block_embeddings(graphs, vocabulary, exported, self.blocks)
