import json
from pathlib import Path

import pytest

from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def test_ids_and_limits_are_read_for_both_families(embedded: Store) -> None:
    t5 = read_configuration(embedded.folder(Task.SUMMARIZATION, "original"))
    bart = read_configuration(embedded.folder(Task.TRANSLATION, "original"))

    assert (t5.pad_id, t5.eos_id, t5.decoder_start_id, t5.max_positions) == (0, 1, 0, None)
    assert (bart.pad_id, bart.eos_id, bart.decoder_start_id) == (1, 2, 2)
    assert (bart.forced_eos_id, bart.max_positions, bart.decoder_layers) == (2, 256, 4)


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 10}))

    with pytest.raises(InvalidArtifact, match=r"model_type 'gpt2' is not one of t5, .*, marian-student, pegasus"):
        read_configuration(tmp_path)


def test_a_missing_id_is_named(tmp_path: Path) -> None:
    config = {"model_type": "t5", "vocab_size": 10, "num_layers": 1, "pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(InvalidArtifact, match="name no eos_token_id"):
        read_configuration(tmp_path)
