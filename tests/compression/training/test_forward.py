"""One forward pass with teacher forcing."""

from pathlib import Path

import pytest
import torch

from slimseq.compression.families import NAMES
from slimseq.compression.models import load_model
from slimseq.compression.training.data.batches import one_pass
from slimseq.compression.training.data.pairs import Limits, TrainingSet
from slimseq.compression.training.forward import decoder_inputs, pad_id_of
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
