"""The PyTorch module of a Marian student, for the offline side: transformers has none.

Importing it registers the family with transformers, so that `from_pretrained` and `generate` work as for the others.
Equations are taken from Marian's `transformer.h` and SSRU (Kim et al. 2019, https://aclanthology.org/D19-5632).
Generation with this module is slow: each step computes the whole prefix again. The graphs that serving runs keep the
recurrent state instead. The modules have the names of the tensors in an artifact.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from slimseq.inference.models.marian_student import MarianStudent

FAMILY = MarianStudent()
# Values of keys that a configuration leaves out. Without `source_vocab_size`, sources have the tokens of targets.
DEFAULTS = {**FAMILY.defaults, **FAMILY.special_ids(), "source_vocab_size": None, "dropout": 0.1}


class MarianStudentConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    model_type = FAMILY.model_type

    def __init__(self, **keys: Any) -> None:
        super().__init__(**{"is_encoder_decoder": True, **DEFAULTS, **keys})


class _AttentionModule(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.attention_heads
        inner = config.attention_heads * config.head_width
        self.q_proj = nn.Linear(config.d_model, inner)
        self.k_proj = nn.Linear(config.d_model, inner)
        self.v_proj = nn.Linear(config.d_model, inner)
        self.out_proj = nn.Linear(inner, config.d_model)

    def forward(
        self, states: torch.Tensor, others: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Lets `states`, `(rows, length, width)`, attend to `others` where the mask is true; returns weights too."""
        query = self._split_heads(self.q_proj(states))
        key = self._split_heads(self.k_proj(others))
        value = self._split_heads(self.v_proj(others))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), weights

    def _split_heads(self, projected: torch.Tensor) -> torch.Tensor:
        """Turns `(rows, length, heads * width)` into `(rows, heads, length, width)`."""
        return projected.reshape(*projected.shape[:2], self.heads, -1).transpose(1, 2)


class _CellModule(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.forget = nn.Linear(width, width)
        self.input = nn.Linear(width, width, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Runs the SSRU over `states`, `(rows, length, width)`."""
        forget = torch.sigmoid(self.forget(states))
        change = (1 - forget) * self.input(states)
        cell_state = torch.zeros_like(states[:, 0])
        cell_states = []
        for step in range(states.shape[1]):
            cell_state = forget[:, step] * cell_state + change[:, step]
            cell_states.append(cell_state)
        return functional.relu(torch.stack(cell_states, dim=1))


class _LayerModule(nn.Module):
    def __init__(self, config: Any, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, inner)
        self.fc2 = nn.Linear(inner, config.d_model)
        self.final_layer_norm = _norm(config)
        self.activation_fn = nn.ReLU()
        self.dropout = nn.Dropout(config.dropout)

    def feed_forward(self, states: torch.Tensor) -> torch.Tensor:
        change = self.fc2(self.activation_fn(self.fc1(states)))
        return self.final_layer_norm(states + self.dropout(change))  # type: ignore[no-any-return]


class _EncoderLayer(_LayerModule):
    def __init__(self, config: Any) -> None:
        super().__init__(config, config.encoder_ffn_dim)
        self.self_attn = _AttentionModule(config)
        self.self_attn_layer_norm = _norm(config)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        attended, _ = self.self_attn(states, states, mask)
        return self.feed_forward(self.self_attn_layer_norm(states + self.dropout(attended)))


class _DecoderLayer(_LayerModule):
    def __init__(self, config: Any) -> None:
        super().__init__(config, config.decoder_ffn_dim)
        self.cell = _CellModule(config.d_model)
        self.cell_norm = _norm(config)
        self.encoder_attn = _AttentionModule(config)
        self.encoder_attn_layer_norm = _norm(config)

    def forward(
        self, states: torch.Tensor, source: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.cell_norm(states + self.dropout(self.cell(states)))
        attended, weights = self.encoder_attn(states, source, mask)
        return self.feed_forward(self.encoder_attn_layer_norm(states + self.dropout(attended))), weights


class _StackModule(nn.Module):
    def __init__(self, config: Any, layers: Iterable[nn.Module], tokens: int | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(config.dropout)
        self.embed_tokens = nn.Embedding(tokens, config.d_model) if tokens else None

    def embed(self, table: nn.Embedding, ids: torch.Tensor, *, starts_from_zero: bool = False) -> torch.Tensor:
        width = table.embedding_dim
        states = table(ids) * width**0.5
        if starts_from_zero:
            states = torch.cat([torch.zeros_like(states[:, :1]), states[:, 1:]], dim=1)
        return self.dropout(states + _positions(ids.shape[1], width).to(states))  # type: ignore[no-any-return]


class _Stacks(nn.Module):
    """Both stacks. Their embedding is `shared`, or each has its own.

    The forward pass runs the encoder alone, since `generate` calls this module as the encoder (`get_encoder`).
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        sources, targets = config.source_vocab_size, config.vocab_size
        self.shared = None if sources else nn.Embedding(targets, config.d_model)
        self.encoder = _StackModule(config, [_EncoderLayer(config) for _ in range(config.encoder_layers)], sources)
        self.decoder = _StackModule(
            config, [_DecoderLayer(config) for _ in range(config.decoder_layers)], targets if sources else None
        )

    def table(self, stack: _StackModule) -> nn.Embedding:
        return stack.embed_tokens if self.shared is None else self.shared  # type: ignore[return-value]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutput:
        states = self.encoder.embed(self.table(self.encoder), input_ids)
        mask = _mask(attention_mask, states)
        for layer in self.encoder.layers:
            states = layer(states, mask)
        return BaseModelOutput(last_hidden_state=states)


class MarianStudentModel(PreTrainedModel, GenerationMixin):
    """A Marian student. The output matrix is the embedding of targets; each tensor has one name."""

    config_class = MarianStudentConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = _Stacks(config)
        self.final_logits_bias = nn.Parameter(torch.zeros(1, config.vocab_size))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: Any = None,
        output_attentions: bool = False,
        cache: Any = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Runs the model with teacher forcing: ids `(rows, length)` to logits `(rows, target_length, vocabulary)`.

        Caches stay empty. `generate` passes them as `cache` or `past_key_values`, which depends on its release.
        """
        assert decoder_input_ids is not None
        if encoder_outputs is None:
            encoder_outputs = self.model(input_ids, attention_mask)
        source = encoder_outputs[0]
        mask = _mask(attention_mask, source)
        table = self.get_input_embeddings()
        states = self.model.decoder.embed(table, decoder_input_ids, starts_from_zero=True)
        attentions = []
        for layer in self.model.decoder.layers:
            states, weights = layer(states, source, mask)
            attentions.append(weights)
        logits = functional.linear(states, table.weight) + self.final_logits_bias
        return Seq2SeqLMOutput(logits=logits, cross_attentions=tuple(attentions) if output_attentions else None)

    def get_encoder(self, *_: Any, **__: Any) -> Any:
        """Returns what `generate` calls once with ids and mask."""
        return self.model

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **kwargs: Any) -> dict[str, Any]:
        """Returns the arguments of a step: the whole output so far."""
        kept = {name: kwargs[name] for name in ("attention_mask", "encoder_outputs")}
        return {**kept, "decoder_input_ids": input_ids}

    def get_input_embeddings(self) -> Any:
        """Returns the embedding of targets."""
        return self.model.table(self.model.decoder)

    def get_output_embeddings(self) -> None:
        """Returns nothing: there is no module of its own."""


def _norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.d_model, eps=FAMILY.norm_epsilon)


def _mask(mask: torch.Tensor | None, source: torch.Tensor) -> torch.Tensor:
    """Returns which positions of a source are no padding, `(rows, 1, 1, length)`."""
    mask = source.new_ones(source.shape[:2]) if mask is None else mask
    return mask.bool()[:, None, None, :]


@cache
def _positions(length: int, width: int) -> torch.Tensor:
    return torch.from_numpy(FAMILY.sinusoidal_positions(length, width))


AutoConfig.register(FAMILY.model_type, MarianStudentConfig)
AutoModelForSeq2SeqLM.register(MarianStudentConfig, MarianStudentModel)
