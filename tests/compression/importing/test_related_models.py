"""Kin by configuration come through the same door, and our runtimes give the token ids that transformers gives."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.compression.train.tokenizer_maker import tokenizer_size
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_context, tiny_tokenizer
from tests.families import Family
from tests.inference.graphs.test_related_models import KIN

SETTINGS: list[dict[str, Any]] = [
    {"num_beams": 1, "no_repeat_ngram_size": 3},
    {"num_beams": 4, "length_penalty": 0.6, "no_repeat_ngram_size": 2},
]
FORCED: dict[str, dict[str, Any]] = {
    # What their hubs' generation configurations hold: a language's token first, an end last, and no padding.
    "mBART": {"forced_bos_token_id": 9, "decoder_start_token_id": 2, "forced_eos_token_id": 2},
    "Marian": {"bad_words_ids": [[1]], "forced_eos_token_id": 2, "decoder_start_token_id": 1},
    "PEGASUS": {"forced_eos_token_id": 2, "decoder_start_token_id": 1},
}


def never_padding(model: Any) -> None:
    """Keeps a random model from generating padding, as a trained one does, which runtimes cut off in their own ways."""
    model.get_output_embeddings().weight[model.config.pad_token_id] = 0


def saved(name: str, folder: Path) -> Path:
    """A folder as the hub has it, of a random model whose outputs differ by input."""
    kind, configuration, switches = KIN[name]
    family = Family.T5 if name.startswith("mT5") else Family.BART
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    torch.manual_seed(1)
    specials = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0} if family is Family.T5 else {}
    model = kind(configuration(**(switches | {"vocab_size": tokenizer_size(tokenizer)} | specials))).eval()
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.2)
        never_padding(model)
    for key, value in FORCED.get(name, {}).items():
        setattr(model.generation_config, key, value)
    write_model(model, folder / "model")
    copy_tokenizer(tokenizer, folder / "model")
    return folder / "model"


@pytest.mark.parametrize("name", list(KIN))
def test_imported_related_models_give_the_token_ids_of_transformers(tmp_path: Path, name: str) -> None:
    context = tiny_context(tmp_path)
    options = ImportOptions(task=Task.TRANSLATION, languages=["en", "de"], max_new_tokens=20, max_input_tokens=30)

    manifest = import_model(context, str(saved(name, tmp_path)), options)

    with (
        open_generator(context.store, Task.TRANSLATION, "original", "onnxruntime") as ours,
        open_generator(context.store, Task.TRANSLATION, "original", "torch") as reference,
    ):
        # Of a random model some continuations are worth the same but for rounding, which differs by batch.
        rows = [ours.encode(source).ids for source, _ in SENTENCES[:10]]
        for settings in SETTINGS:
            wanted = manifest.generation.options(**settings)
            found = ours.runtime.generate(rows, wanted)
            assert found == reference.runtime.generate(rows, wanted)
            assert len({tuple(sequence.ids) for sequence in found}) > 1
