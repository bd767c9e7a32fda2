"""Log-probabilities of generated texts are those that transformers computes for the same tokens, whatever the batch."""

from collections.abc import Iterator
from typing import Any

import pytest

from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.teacher_forcing import mean_log_probabilities

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy with rules": {"num_beams": 1, "no_repeat_ngram_size": 2, "min_new_tokens": 12, "repetition_penalty": 1.3},
    "beams": {"num_beams": 4, "length_penalty": 2.0},
    "beams, cut": {"num_beams": 3, "max_new_tokens": 5},
    "sampling": {"do_sample": True, "temperature": 2.0, "top_k": 50, "top_p": 0.9, "seed": 11},
}
SENTENCES = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples][:8]


@pytest.fixture(scope="module", params=list(Task), ids=[task.value for task in Task])
def model(request: pytest.FixtureRequest, embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, request.param, "original", "onnxruntime", threads=1) as generator:
        yield generator


@pytest.mark.parametrize("name", list(SETTINGS))
def test_log_probabilities_are_those_of_transformers(model: TextGenerator, embedded: Store, name: str) -> None:
    options = model.manifest.generation.options(**({"max_new_tokens": 40} | SETTINGS[name]))
    rows = [model.encode(text).ids for text in SENTENCES]

    sequences = model.runtime.generate(rows, options)

    folder = embedded.folder(model.manifest.task, "original")
    ids = [sequence.ids for sequence in sequences]
    # Where the model forces an end token, it is the last token of an output of maximum length.
    forces_end = model.configuration.forced_eos_id is not None
    is_last_forced = [forces_end and len(each) == options.max_new_tokens for each in ids]
    expected = mean_log_probabilities(folder, rows, ids, is_last_forced)
    assert [sequence.mean_log_probability for sequence in sequences] == pytest.approx(expected, abs=2e-4)
    assert len(set(expected)) > len(SENTENCES) / 2, "outputs hardly differ, so the test shows little"


@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_other_texts_change_no_log_probability(embedded: Store, variant: str) -> None:
    with open_generator(embedded, Task.TRANSLATION, variant, "onnxruntime", threads=1) as generator:
        rows = [generator.encode(text).ids for text in SENTENCES]
        for name in ("greedy with rules", "beams", "sampling"):
            options = generator.manifest.generation.options(**SETTINGS[name])

            together = generator.runtime.generate(rows, options)
            alone = [generator.runtime.generate([row], options)[0] for row in rows]

            assert [each.mean_log_probability for each in together] == [each.mean_log_probability for each in alone]


def test_log_probabilities_of_beams_are_unknown_with_a_repetition_penalty(model: TextGenerator) -> None:
    options = model.manifest.generation.options(num_beams=3, max_new_tokens=8, repetition_penalty=1.5)

    [sequence] = model.runtime.generate([model.encode(SENTENCES[0]).ids], options)

    assert sequence.ids
    assert sequence.mean_log_probability is None


def test_a_text_has_the_mean_of_its_tokens_and_none_where_the_runtime_does_not_say(embedded: Store) -> None:
    for runtime in ("onnxruntime", "torch"):
        with open_generator(embedded, Task.TRANSLATION, "original", runtime, threads=1) as generator:
            options, encoding = generator.manifest.generation.options(max_new_tokens=4), generator.encode(SENTENCES[0])
            [output] = generator.generate([encoding], options)
            [sequence] = generator.runtime.generate([encoding.ids], options)

        assert output.text
        assert output.mean_log_probability == sequence.mean_log_probability
        assert (output.mean_log_probability is None) == (runtime == "torch")
