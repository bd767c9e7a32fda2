"""The inputs and outputs that the runtime knows by name: masks, ids, caches and logits."""

from onnx import TensorProto

from models_store.graphs.attention import Heads
from models_store.graphs.builder import GraphBuilder

BATCH = "batch_size"
SOURCE = "encoder_sequence_length"
PAST = "past_decoder_sequence_length"
PRESENT = "past_decoder_sequence_length + decoder_sequence_length"
PARTS = ("key", "value")


def add_encoder_inputs(builder: GraphBuilder) -> None:
    """Adds `input_ids` and `attention_mask`, `(batch, length)`, int64."""
    builder.input("input_ids", [BATCH, SOURCE])
    builder.input("attention_mask", [BATCH, SOURCE])


def add_decoder_inputs(builder: GraphBuilder, layers: int, heads: Heads) -> None:
    """Adds one token a row, the source's mask, and both caches of all layers."""
    builder.input("encoder_attention_mask", [BATCH, SOURCE])
    builder.input("input_ids", [BATCH, 1])
    for layer in range(layers):
        for stack, length in (("decoder", PAST), ("encoder", SOURCE)):
            for name in past(layer, stack):
                builder.input(name, [BATCH, heads.count, length, heads.width], TensorProto.FLOAT)


def add_cross_outputs(builder: GraphBuilder, layers: int, heads: Heads) -> None:
    """Makes cross-attention keys and values outputs of the encoder's graph."""
    for layer in range(layers):
        for name in present(layer, "encoder"):
            builder.output(name, [BATCH, heads.count, SOURCE, heads.width])


def add_decoder_outputs(builder: GraphBuilder, layers: int, heads: Heads, vocabulary: int) -> None:
    """Makes logits and self-attention caches outputs of the decoder's graph."""
    builder.output("logits", [BATCH, 1, vocabulary])
    for layer in range(layers):
        for name in present(layer, "decoder"):
            builder.output(name, [BATCH, heads.count, PRESENT, heads.width])


def past(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of the keys and values that come in. `stack` is where their states come from."""
    key, value = (f"past_key_values.{layer}.{stack}.{part}" for part in PARTS)
    return key, value


def present(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of the keys and values that go out."""
    key, value = (f"present.{layer}.{stack}.{part}" for part in PARTS)
    return key, value
