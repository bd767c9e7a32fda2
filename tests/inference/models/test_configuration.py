import json
from pathlib import Path

import pytest

from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.errors import InvalidArtifact


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 10}))

    with pytest.raises(InvalidArtifact, match=r"model_type 'gpt2' is not one of t5, .*, marian-student, pegasus"):
        read_configuration(tmp_path)


def test_a_missing_id_is_named(tmp_path: Path) -> None:
    config = {"model_type": "t5", "vocab_size": 10, "num_layers": 1, "pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(InvalidArtifact, match="name no eos_token_id"):
        read_configuration(tmp_path)
