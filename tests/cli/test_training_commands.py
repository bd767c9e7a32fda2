import json
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, invoked
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file, tiny_store
from tests.families import Family


def invoked_on(store: Store, *words: str) -> Finished:
    return invoked(*words, "--store", store.root)


def answered(store: Store, *words: str) -> dict[str, Any]:
    result = invoked_on(store, *words, "--json")
    assert result.code == 0, result.error
    answer: dict[str, Any] = json.loads(result.out)
    return answer


def test_bad_data_names_file_and_line(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"source": "a", "target": "b"}\n{"source": "a"\n')

    result = invoked_on(context.store, "distill", "translation", "original", "--data", str(bad), "--max-steps", "1")

    assert result.code == 1
    assert result.error.splitlines()[-1].startswith("error: ") and "line 2 of bad.jsonl" in result.error
    assert context.store.variants(Task.TRANSLATION) == ["original"]


@pytest.mark.parametrize("verb", ["train", "prune", "distill"])
def test_help_says_what_ends_training(verb: str) -> None:
    result = invoked(verb, "--help")

    assert result.code == 0
    assert "ten minutes" in result.out


def test_an_average_takes_no_data(tmp_path: Path) -> None:
    context, data = tiny_context(tmp_path), tiny_file(tmp_path)
    tiny_artifact(context, Family.T5)
    words = ("distill", "translation", "original", "--data", data, "--decoder-layers", "2", "--max-steps", "2")
    answered(context.store, *words, "--name", "trained")

    averaged = answered(context.store, "average", "translation", "trained", "--share", "0.75")
    refused = invoked_on(context.store, "average", "translation", "trained", "--data", data)

    assert averaged["lineage"][-2:] == ["distill", "average"] and averaged["variant"] == "averaged"
    assert refused.code == 1 and "Unknown option: --data" in refused.error


def test_beams_are_chosen_on_dev_data_and_nothing_is_trained_on(tmp_path: Path) -> None:
    context, data = tiny_context(tmp_path), tiny_file(tmp_path)
    tiny_artifact(context, Family.T5)

    chosen = answered(context.store, "tune-beams", "translation", "original", "--dev", data, "--samples", "4")
    refused = invoked_on(context.store, "tune-beams", "translation", "original", "--data", data)

    assert chosen["lineage"][-1] == "tune-beams" and chosen["variant"] == "fewer-beams"
    assert refused.code == 1 and "Unknown option: --data" in refused.error
