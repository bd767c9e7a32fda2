"""One forward pass with teacher forcing."""

from pathlib import Path

import pytest
import torch
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from slimseq.compression.families import NAMES
from slimseq.compression.models import load_model
from slimseq.compression.train import forward
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.data.training_data import Limits, TrainingSet
from slimseq.compression.train.forward import decoder_inputs, dropout_rate, pad_id_of, precision_on
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.test_families import TASK, imported
from tests.compression.tiny import EXAMPLES, tiny_model, tiny_tokenizer
from tests.families import Family


# transformers does not know students.
@pytest.mark.parametrize("model_type", sorted(NAMES.keys() - {"marian-student"}))
def test_a_decoder_reads_the_labels_shifted_as_transformers_shifts_them(model_type: str, tmp_path: Path) -> None:
    folder = imported(model_type, tmp_path).store.folder(TASK, "original")
    model, pairs = load_model(folder), TrainingSet(EXAMPLES, Tokenizer(folder), "", Limits(40, 8))

    for batch in one_pass(pairs, 256, pad_id_of(model)):
        if hasattr(model, "prepare_decoder_input_ids_from_labels"):
            theirs = model.prepare_decoder_input_ids_from_labels(labels=batch.labels)  # type: ignore[operator]
        else:
            theirs = shift_tokens_right(batch.labels, pad_id_of(model), model.config.decoder_start_token_id)
        assert torch.equal(decoder_inputs(model, batch.labels), theirs)


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (["avx2", "fma"], "fp32"),
        (["avx2", "avx512f", "avx512_vnni"], "fp32"),
        (["avx512f", "avx512_bf16"], "bf16"),
        (["amx_bf16", "amx_tile"], "bf16"),
        (["asimd", "bf16"], "bf16"),
    ],
)
def test_training_is_in_bf16_on_a_cpu_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], chosen: str
) -> None:
    monkeypatch.setattr(forward, "cpu_flags", lambda: flags)

    assert precision_on("cpu", "auto") == chosen
    assert (precision_on("cpu", "bf16"), precision_on("cpu", "fp32")) == ("bf16", "fp32")


@pytest.mark.parametrize(("is_supported", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_training_is_in_bf16_on_a_gpu_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, is_supported: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_supported)

    assert precision_on("cuda:0", "auto") == chosen


@pytest.mark.parametrize("family", list(Family))
def test_without_dropout_training_mode_computes_the_same_every_time(tmp_path: Path, family: Family) -> None:
    model = tiny_model(family, tiny_tokenizer(family, tmp_path))
    ids = torch.tensor([[5, 6, 7, 8]])

    def logits() -> torch.Tensor:
        result: torch.Tensor = model(input_ids=ids, decoder_input_ids=ids).logits
        return result.detach()

    expected = logits()
    model.train()
    with dropout_rate(model, 0.0):
        without = logits()
    again = logits()

    assert torch.equal(without, expected)
    assert not torch.equal(again, expected)
