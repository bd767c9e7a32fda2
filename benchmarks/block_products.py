"""Products whose weights have a scale a block, and inputs too or none: ONNX Runtime's `MatMulNBits`.

The nodes and values are those that its `MatMulNBitsQuantizer` makes.
"""

from dataclasses import dataclass

from onnx import NodeProto

from slimseq.compression.quantize.rewriting import DOMAIN, GraphRewriter
from slimseq.compression.quantize.weight_only import Blocks, quantize_rows_in_blocks


@dataclass(frozen=True)
class BlockWeights:
    """How weights are rounded in blocks, and the kernel's `accuracy_level`, where 0 leaves the choice to it."""

    blocks: Blocks
    accuracy_level: int

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Adds the product, as `MatmulQuantizer.add` says."""
        states, matrix = node.input
        weights = graph.matrix(matrix)
        bits, size = self.blocks.bits, self.blocks.size
        parts = quantize_rows_in_blocks(weights.T, self.blocks)
        names = [f"{matrix}_Q{bits}", f"{matrix}_scales", f"{matrix}_zero_points"][: len(parts)]
        for name, values in zip(names, parts, strict=True):
            graph.tensor(name, values)
        attributes = {"K": weights.shape[0], "N": weights.shape[1], "bits": bits, "block_size": size}
        if self.accuracy_level:
            attributes["accuracy_level"] = self.accuracy_level
        graph.node("MatMulNBits", [states, *names], f"{node.name}_Q{bits}", node.output[0], domain=DOMAIN, **attributes)
