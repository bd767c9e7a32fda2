"""Models that people use, as `benchmarks.peers --shapes` measures them: published configurations with random weights.

Random weights take as long as real ones, and need no download. A random model does not end its outputs by itself as a
trained one does, so all outputs have a forced length. The tokenizers are those of the embedded models, because the
systems get token ids. The vocabularies have the published size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.registry import family_named
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Manifest, Step, Task
from slimseq.models_store.store import Store

VARIANT = "original"
LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}
# Inputs of a shape. A batch that is larger repeats them.
INPUTS = 32
# Ids below this one are special in the embedded tokenizers and in the published ones.
FIRST_WORD = 10
SEED = 0


@dataclass(frozen=True)
class Shape:
    """A published model.

    `config` has the fields of the published `config.json` that decide speed. `search` has its published generation
    options; the number of beams is the benchmark's. Every input has `input_tokens` tokens, every output `new_tokens`.
    """

    task: Task
    input_tokens: int
    new_tokens: int
    config: Mapping[str, Any]
    search: Mapping[str, Any]


def _bart_sizes(width: int, encoder_layers: int, decoder_layers: int, heads: int, feed_forward: int) -> dict[str, Any]:
    """Returns sizes under the names that BART, PEGASUS, Marian and M2M100 have for them."""
    return {
        "d_model": width,
        "encoder_layers": encoder_layers,
        "decoder_layers": decoder_layers,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": feed_forward,
        "decoder_ffn_dim": feed_forward,
    }


_BART: Mapping[str, Any] = {
    "model_type": "bart",
    "activation_function": "gelu",
    "scale_embedding": False,
    "max_position_embeddings": 1024,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}
_CNN_SEARCH: Mapping[str, Any] = {"length_penalty": 2.0, "no_repeat_ngram_size": 3, "early_stopping": True}

SHAPES: dict[str, Shape] = {
    # google-t5/t5-small. T5 was trained with 512 tokens, so news are cut to them.
    "t5-small": Shape(
        Task.SUMMARIZATION,
        input_tokens=512,
        new_tokens=60,
        config={
            "model_type": "t5",
            "vocab_size": 32128,
            "d_model": 512,
            "d_kv": 64,
            "d_ff": 2048,
            "num_layers": 6,
            "num_decoder_layers": 6,
            "num_heads": 8,
            "relative_attention_num_buckets": 32,
            "feed_forward_proj": "relu",
            "n_positions": 512,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
        },
        search={"length_penalty": 2.0, "no_repeat_ngram_size": 3, "early_stopping": True},
    ),
    # facebook/bart-base, fine-tuned to summarize news in a sentence or two.
    "bart-base": Shape(
        Task.SUMMARIZATION,
        input_tokens=1024,
        new_tokens=60,
        config={**_BART, "vocab_size": 50265, **_bart_sizes(768, 6, 6, 12, 3072)},
        search={"no_repeat_ngram_size": 3, "early_stopping": True},
    ),
    # sshleifer/distilbart-cnn-12-6.
    "distilbart-cnn-12-6": Shape(
        Task.SUMMARIZATION,
        input_tokens=1024,
        new_tokens=140,
        config={**_BART, "forced_bos_token_id": 0, "vocab_size": 50264, **_bart_sizes(1024, 12, 6, 16, 4096)},
        search=_CNN_SEARCH,
    ),
    # facebook/bart-large-cnn.
    "bart-large-cnn": Shape(
        Task.SUMMARIZATION,
        input_tokens=1024,
        new_tokens=140,
        config={**_BART, "forced_bos_token_id": 0, "vocab_size": 50264, **_bart_sizes(1024, 12, 12, 16, 4096)},
        search=_CNN_SEARCH,
    ),
    # google/pegasus-xsum. Its positions allow 512 tokens, its summaries have at most 64.
    "pegasus-xsum": Shape(
        Task.SUMMARIZATION,
        input_tokens=512,
        new_tokens=60,
        config={
            "model_type": "pegasus",
            "vocab_size": 96103,
            **_bart_sizes(1024, 16, 16, 16, 4096),
            "activation_function": "relu",
            "scale_embedding": True,
            "max_position_embeddings": 512,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
            "forced_eos_token_id": 1,
        },
        search={"length_penalty": 0.6},
    ),
    # Helsinki-NLP/opus-mt-en-de, which most of its family have the sizes of.
    "opus-mt": Shape(
        Task.TRANSLATION,
        input_tokens=32,
        new_tokens=32,
        config={
            "model_type": "marian",
            "vocab_size": 58101,
            "decoder_vocab_size": 58101,
            **_bart_sizes(512, 6, 6, 8, 2048),
            "activation_function": "swish",
            "scale_embedding": True,
            "share_encoder_decoder_embeddings": True,
            "static_position_embeddings": True,
            "max_position_embeddings": 512,
            "bos_token_id": 0,
            "pad_token_id": 58100,
            "eos_token_id": 0,
            "decoder_start_token_id": 58100,
            "forced_eos_token_id": 0,
        },
        search={},
    ),
    # facebook/nllb-200-distilled-600M.
    "nllb-200-600m": Shape(
        Task.TRANSLATION,
        input_tokens=40,
        new_tokens=40,
        config={
            "model_type": "m2m_100",
            "vocab_size": 256206,
            **_bart_sizes(1024, 12, 12, 16, 4096),
            "activation_function": "relu",
            "scale_embedding": True,
            "max_position_embeddings": 1024,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        search={},
    ),
}


def make_shape(shape: Shape, tokenizers: Store, store: Store) -> Manifest:
    """Publishes a model of a shape with random weights as `TASK/original`, unless the store has it already.

    Args:
        shape: what the model is like.
        tokenizers: the embedded models. The new model gets the tokenizer of one of them.
        store: gets the model.
    """
    if VARIANT in store.variants(shape.task):
        return store.manifest(shape.task, VARIANT)
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    from slimseq.compression.artifacts.publish import Identity, publish_model

    config = dict(shape.config)
    torch.manual_seed(SEED)
    known = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModelForSeq2SeqLM.from_config(known).eval()  # type: ignore[no-untyped-call]
    # BART has the tokenizer of the embedded BART. T5's suits the others, for it has pieces as theirs have.
    tokenizer_task = Task.TRANSLATION if shape.config["model_type"] == "bart" else Task.SUMMARIZATION
    identity = Identity(
        task=shape.task,
        variant=VARIANT,
        family=family_named(shape.config["model_type"]).artifact_family,
        languages=LANGUAGES[shape.task],
        license="Apache-2.0",
        training_data="none",
        description="A published configuration with random weights.",
        generation=GenerationDefaults(
            max_input_tokens=shape.input_tokens, max_new_tokens=shape.new_tokens, **shape.search
        ),
        lineage=[Step(technique="import")],
    )
    return publish_model(store, model, tokenizers.folder(tokenizer_task, VARIANT), identity)


def inputs_of(shape: Shape, folder: Path) -> list[list[int]]:
    """Returns inputs of a shape's exact length, from the ids of the bundled texts, for a model in a folder."""
    tokenizer, known = Tokenizer(folder), read_configuration(folder)
    texts = [each.source for each in load_examples(shape.task, BUNDLED).examples]
    encoded = (tokenizer.encode(text, shape.input_tokens).ids for text in texts)
    words = [token for token in chain.from_iterable(encoded) if token >= FIRST_WORD and token != known.pad_id]
    # Each input ends with the end token, and begins where the last one ended.
    length = shape.input_tokens - 1
    stream = cycle(words)
    return [[*islice(stream, length), known.eos_id] for _ in range(INPUTS)]
