"""One forward pass with teacher forcing."""

from pathlib import Path

import pytest
import torch

from slimseq.compression.families import NAMES
from slimseq.compression.models import load_model
from slimseq.compression.train import forward
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.data.pairs import Limits, TrainingSet
from slimseq.compression.train.forward import decoder_inputs, pad_id_of, precision_on
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.test_families import TASK, imported
from tests.compression.tiny import EXAMPLES


@pytest.mark.parametrize("model_type", list(NAMES))
def test_a_decoder_reads_the_labels_shifted_as_transformers_shifts_them(model_type: str, tmp_path: Path) -> None:
    folder = imported(model_type, tmp_path).store.folder(TASK, "original")
    model, pairs = load_model(folder), TrainingSet(EXAMPLES, Tokenizer(folder), "", Limits(40, 8))

    for batch in one_pass(pairs, 256, pad_id_of(model)):
        theirs = model.prepare_decoder_input_ids_from_labels(labels=batch.labels)  # type: ignore[operator]
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
