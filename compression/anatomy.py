"""The parts of a model that transformers opened, under the names of `models_store.anatomy`."""

from typing import TYPE_CHECKING

from compression.errors import BadParameters
from models_store.anatomy import Anatomy, bart_stack, t5_stack
from models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def anatomy_of(model: "PreTrainedModel") -> Anatomy:
    """Returns the parts of a model.

    Raises:
        BadParameters: it is neither a T5 nor a BART for conditional generation.
    """
    config = model.config
    if config.model_type == Family.T5:
        return Anatomy(
            Family.T5,
            t5_stack("encoder", config.num_layers, config.is_gated_act),
            t5_stack("decoder", config.num_decoder_layers, config.is_gated_act),
            config.d_kv,
        )
    if config.model_type == Family.BART:
        return Anatomy(
            Family.BART,
            bart_stack("encoder", config.encoder_layers),
            bart_stack("decoder", config.decoder_layers),
            config.d_model // config.encoder_attention_heads,
        )
    raise BadParameters(f"model type {config.model_type!r} has no parts that are known here")
