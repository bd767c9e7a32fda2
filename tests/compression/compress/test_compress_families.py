"""`compress` on a random tiny model of every type, without training and with it."""

import json
from pathlib import Path

import pytest

from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.context import Context
from slimseq.compression.families import NAMES
from slimseq.compression.prune.layer_plan import whole_plan
from slimseq.models_store.manifest import Task
from tests.command_line import Finished, invoked
from tests.compression.compress.learned import WITHIN, costs_of, with_findings
from tests.compression.compress.pairs import written_pairs
from tests.compression.language_models import related_folder
from tests.compression.test_families import imported
from tests.compression.tiny import tiny_import

TASK = Task.TRANSLATION
# Too few to compare first stages: the shape with the least divergence is taken.
FIRST_STEPS, STEPS = 12, 20


def talkative(model_type: str, folder: Path) -> Context:
    """A store with a model of a type that writes something for every text."""
    if model_type != "pegasus":
        return imported(model_type, folder)
    source = related_folder("PEGASUS", folder, seed=7)
    return tiny_import(folder, source, languages=["en", "de"], max_new_tokens=8, max_input_tokens=40)


def compress(context: Context, folder: Path, within: str, run: Path, *words: object) -> Finished:
    """Compresses a model by its agreement with itself: a random model has no quality."""
    texts = folder / "texts.txt"
    rows = Path(written_pairs(folder / "pairs.jsonl", 300)).read_text(encoding="utf-8").splitlines()
    texts.write_text("".join(f"{json.loads(row)['source']}\n" for row in rows), encoding="utf-8")
    own = ("--store", context.store.root, "--folder", run, "--within", within, "--keep", "0.01", "--json")
    return invoked("compress", "translation/original", "--unlabelled", texts, *own, *words)


@pytest.mark.parametrize("model_type", list(NAMES))
def test_every_family_has_an_int8_variant_in_its_front(model_type: str, tmp_path: Path) -> None:
    context = talkative(model_type, tmp_path)

    finished = compress(context, tmp_path, "3m", tmp_path / "run")

    assert finished.code == 0, finished.error
    front = finished.json["front"]
    assert any("int8" in point["title"] for point in front)
    assert all(context.store.verify(TASK, point["variant"]).gate for point in front)
    assert "There was no time for training" in " ".join(finished.json["remarks"])


# What differs most: a shared position bias, absolute positions, a recurrent decoder. `test_varied_artifacts` and
# `test_families` have shapes and losses of all types.
@pytest.mark.parametrize("model_type", ["t5", "bart", "marian-student"])
def test_shapes_are_searched_and_trained(model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = talkative(model_type, tmp_path)
    whole = whole_plan(open_parent(context, TASK, "original", "x").model)
    run = tmp_path / "run"
    with_findings(run, {"costs": costs_of(whole), "first stage steps": FIRST_STEPS})
    monkeypatch.setattr("slimseq.compression.compress.shape_candidates.steps_in_all", lambda *_: STEPS)
    monkeypatch.setattr("slimseq.compression.compress.shape_finder.TARGETS", 1)

    finished = compress(context, tmp_path, WITHIN, run)

    assert finished.code == 0, finished.error
    made = {path.name for path in (run / "build" / "steps" / TASK).iterdir()}
    assert any(name.startswith("shape") for name in made), finished.error
