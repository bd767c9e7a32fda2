"""The parts of a model that transformers opened, under the names of `slimseq.inference.models.anatomy`."""

from typing import TYPE_CHECKING

from slimseq.compression.errors import BadParameters
from slimseq.inference.models.anatomy import Anatomy, bart_stack, t5_stack
from slimseq.inference.models.configuration import FAMILIES
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def anatomy_of(model: "PreTrainedModel") -> Anatomy:
    """Returns the parts of a model.

    Raises:
        BadParameters: its model type is none that Slimseq takes.
    """
    config = model.config
    if family_of_model(model) is Family.T5:
        return Anatomy(
            Family.T5,
            t5_stack("encoder", config.num_layers, config.is_gated_act),
            t5_stack("decoder", config.num_decoder_layers, config.is_gated_act),
            config.d_kv,
            is_pre_norm=True,
            has_embedding_norm=False,
        )
    modules = {name for name, _ in model.named_modules()}
    return Anatomy(
        Family.BART,
        bart_stack("encoder", config.encoder_layers),
        bart_stack("decoder", config.decoder_layers),
        config.d_model // config.encoder_attention_heads,
        is_pre_norm="model.encoder.layer_norm" in modules,
        has_embedding_norm="model.encoder.layernorm_embedding" in modules,
    )


def family_of_model(model: "PreTrainedModel") -> Family:
    """Returns whose names a model's parts have.

    Raises:
        BadParameters: its model type is none that Slimseq takes.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None:
        raise BadParameters(
            f"model type {model.config.model_type!r} is not supported; Slimseq takes {', '.join(FAMILIES)}"
        )
    return family
