"""Scoring a given output gives the log-probabilities that transformers gives, on every runtime and in any batch."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.inference.generator import open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.teacher_forcing import mean_log_probabilities

OUTPUT = "Das rote Haus ist sehr alt."
SOURCES = ["The red house is very old.", "The X house is very old.", "It is late."]


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch", "ctranslate2"])
def test_an_output_is_scored_as_transformers_scores_it(embedded: Store, runtime: str, tmp_path: Path) -> None:
    if runtime == "ctranslate2":
        # `prepare` exports to it where it is the fastest on this kind of CPU.
        copy = Store(tmp_path)
        copy_artifact(embedded, copy, embedded.manifest(Task.TRANSLATION, "distilled"))
        add_ctranslate2(Context(store=copy), Task.TRANSLATION, "distilled")
        embedded = copy
    with open_generator(embedded, Task.TRANSLATION, "distilled", runtime) as generator:
        forced = generator.force(OUTPUT)
        rows = [replace(generator.encode(source), output=forced) for source in SOURCES]
        reported: dict[int, list[int]] = {}
        callbacks = GenerationCallbacks(lambda row, token: reported.setdefault(row, []).append(token))
        searched_row = generator.encode("Good morning.")

        *scored, searched = generator.generate([*rows, searched_row], generator.default_options, callbacks)

        [alone] = generator.generate([searched_row], generator.default_options)

    folder = embedded.folder(Task.TRANSLATION, "distilled")
    ids = [list(forced.ids)] * len(rows)
    expected = mean_log_probabilities(folder, [row.ids for row in rows], ids, [False] * len(rows))
    found = [sum(each.value for each in output.scores) / len(forced.ids) for output in scored]
    assert found == pytest.approx(expected, abs=2e-3)
    # Scores have the places of their tokens in the text. The end token has none.
    assert [OUTPUT[each.start : each.end] for each in scored[0].scores if each.start < each.end][:2] == ["Das", "ro"]
    assert searched == alone
    # Only the row that is generated reports tokens, by its own number.
    assert list(reported) == [len(SOURCES)]
