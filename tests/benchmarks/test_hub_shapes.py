from pathlib import Path
from typing import Any

import pytest

from benchmarks import hub_shapes
from slimseq.models_store.manifest import Family

TINY: dict[Family, dict[str, Any]] = {
    Family.T5: {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 1,
        "num_heads": 8,
        "vocab_size": 300,
        "decoder_start_token_id": 0,
    },
    Family.BART: {
        "d_model": 48,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 12,
        "decoder_attention_heads": 12,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "vocab_size": 300,
        "max_position_embeddings": 64,
    },
}


@pytest.mark.parametrize("model", list(hub_shapes.SHAPES))
def test_both_operations_are_measured(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, _ = hub_shapes.SHAPES[model]
    monkeypatch.setitem(hub_shapes.SHAPES, model, (family, TINY[family]))

    hub_shapes.make_artifact(model, tmp_path)
    found = [hub_shapes.measure(model, operation, tmp_path) for operation in hub_shapes.LIMIT_SECONDS]

    assert [each.operation for each in found] == ["quantize", "prune"]
    assert all(each.seconds > 0 and each.peak_bytes > 0 and each.imported_bytes > 0 for each in found)
    assert found[0].fp32_bytes == found[1].fp32_bytes > 4 * 300 * 32
