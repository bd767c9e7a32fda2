import json
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.errors import BadData
from slimseq.compression.report.ablation import read_ablations

ABLATION: dict[str, Any] = {
    "task": "translation",
    "dataset": "tatoeba",
    "split": "dev",
    "samples": 500,
    "metric": "bleu",
    "rows": [
        {"group": "importance", "name": "wanda", "value": 28.1},
        {"group": "loss", "name": "teacher", "value": 28.5, "retention": 0.97, "retention_interval": [0.95, 0.99]},
        {"group": "importance", "name": "random", "value": 21.0},
    ],
}


@pytest.mark.parametrize("content", [ABLATION, [ABLATION]])
def test_rows_come_by_group_from_one_ablation_or_a_list(content: object, tmp_path: Path) -> None:
    (tmp_path / "ablation.json").write_text(json.dumps(content))

    [ablation] = read_ablations(tmp_path)

    groups = {group: [row.name for row in rows] for group, rows in ablation.groups()}
    assert groups == {"importance": ["wanda", "random"], "loss": ["teacher"]}


def test_a_build_need_not_have_one(tmp_path: Path) -> None:
    assert read_ablations(tmp_path) == []


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "ablation.json").write_text(json.dumps(ABLATION | {"samples": "many"}))

    with pytest.raises(BadData, match=r"ablation\.json is not an ablation: samples: "):
        read_ablations(tmp_path)
