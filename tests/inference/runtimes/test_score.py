"""A forced pass gives the log-probabilities that transformers gives, on every runtime and in any company."""

from dataclasses import replace

import pytest

from slimseq.inference.generator import open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.teacher_forcing import mean_log_probabilities

OUTPUT = "Das rote Haus ist sehr alt."
SOURCES = ["The red house is very old.", "The X house is very old.", "It is late."]


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch", "ctranslate2"])
def test_an_output_is_scored_as_transformers_scores_it(embedded: Store, runtime: str) -> None:
    with open_generator(embedded, Task.TRANSLATION, "distilled", runtime) as generator:
        rows = [replace(generator.encode(source), output=OUTPUT) for source in SOURCES]
        texts: dict[int, list[int]] = {}
        callbacks = GenerationCallbacks(lambda row, token: texts.setdefault(row, []).append(token))
        *scored, searched = generator.generate(
            [*rows, generator.encode("Good morning.")], generator.default_options, callbacks
        )
        [alone] = generator.generate([generator.encode("Good morning.")], generator.default_options)
        ids = generator.tokenizer.encode_output(OUTPUT, generator.configuration.forced_bos_id)[0]

    folder = embedded.folder(Task.TRANSLATION, "distilled")
    expected = mean_log_probabilities(folder, [row.ids for row in rows], [ids] * len(rows), [False] * len(rows))
    found = [sum(each.value for each in output.scores) / len(ids) for output in scored]
    assert found == pytest.approx(expected, abs=2e-3)
    assert [OUTPUT[each.start : each.end] for each in scored[0].scores if each.start < each.end][:2] == ["Das", "ro"]
    assert searched == alone and list(texts) == [len(SOURCES)]
