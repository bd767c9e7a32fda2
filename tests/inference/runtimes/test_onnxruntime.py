"""Our own search over ONNX Runtime returns the token ids of `transformers.generate` on the same fp32 weights.

Also tested here: what is refused when graphs are opened, and what an open model does not depend on.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.graphs.tensor_names import SELF_ATTENTION_BIAS
from slimseq.inference.runtimes.onnxruntime import open_runtime
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1, "no_repeat_ngram_size": 0},
    "greedy with rules": {"num_beams": 1, "no_repeat_ngram_size": 3, "min_new_tokens": 25},
    "beam 4": {"num_beams": 4, "no_repeat_ngram_size": 0, "num_return_sequences": 3},
    "beam 4, short": {"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": -0.5, "early_stopping": True},
    "beam 4, penalized": {"num_beams": 4, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "beam 4, cut": {"num_beams": 4, "no_repeat_ngram_size": 3, "max_new_tokens": 12, "num_return_sequences": 4},
}
BATCH = 16


def texts_for(task: Task) -> list[str]:
    """Real texts: sentences, and for summarization some whole articles among them."""
    sentences = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples]
    if task is Task.TRANSLATION:
        return sentences[: 2 * BATCH]
    articles = [example.source for example in load_examples(task, "sample").examples]
    # The articles are a batch of their own: beside them sentences would be padded to five hundred tokens.
    return sentences[:BATCH] + articles[:4]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_token_ids_equal_those_of_transformers(ours_and_torch: tuple[TextGenerator, TextGenerator], name: str) -> None:
    ours, reference = ours_and_torch
    options = ours.manifest.generation.options(**({"max_new_tokens": 48} | SETTINGS[name]))
    rows = [ours.encode(text).ids for text in texts_for(ours.manifest.task)]

    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]

        assert ours.runtime.generate(batch, options) == reference.runtime.generate(batch, options)


def test_a_sessions_threads_rest_soon_after_a_generation(embedded: Store) -> None:
    """Otherwise the decoder's threads would keep cores from the next encoder run, which has threads of its own."""

    def spent_at_rest() -> float:
        generator.generate([encoding], options)
        before = time.process_time()
        time.sleep(0.2)
        return time.process_time() - before

    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime", threads=2) as generator:
        encoding = generator.encode("The sun is shining.")
        options = generator.manifest.generation.options(max_new_tokens=8)

        # In seconds of 0.2 s. Other threads of the process may spend some, but not each time.
        assert min(spent_at_rest() for _ in range(5)) < 0.015


def test_a_graph_that_is_no_onnx_is_named(own_store: Store) -> None:
    folder = own_store.folder(Task.TRANSLATION, "original")
    (folder / "onnx" / "decoder.onnx").write_bytes(b"not a graph")

    with pytest.raises(InvalidArtifact, match=r"decoder\.onnx cannot be opened"):
        open_runtime(folder)


def test_graphs_of_an_older_contract_are_refused(own_store: Store) -> None:
    folder = own_store.folder(Task.TRANSLATION, "original")
    path = folder / "onnx" / "decoder.onnx"
    graph = onnx.load(str(path), load_external_data=False)
    for part in (*graph.graph.input, *graph.graph.node):
        if getattr(part, "input", None):
            part.input[:] = ["other_scores" if name == SELF_ATTENTION_BIAS else name for name in part.input]
        elif part.name == SELF_ATTENTION_BIAS:
            part.name = "other_scores"
    onnx.save(graph, str(path))

    with pytest.raises(InvalidArtifact, match="older Slimseq: quantize or export it again"):
        open_runtime(folder)


@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_files_that_are_overwritten_in_place_change_no_open_model(
    own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with open_generator(own_store, Task.TRANSLATION, variant) as generator:
        options = generator.manifest.generation.options()
        row = generator.encode("The sun is shining.")
        before = generator.generate([row], options)

        [data] = (own_store.folder(Task.TRANSLATION, variant) / "onnx").glob("*.data")
        with data.open("r+b") as file:
            content = file.read()
            file.seek(0)
            file.write(content[::-1])
            file.truncate(len(content) // 2)

        assert generator.generate([row], options) == before
    assert not list(scratch.iterdir())
