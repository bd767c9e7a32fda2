"""The Python API: `load` and the methods of `Model`."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from slimseq.inference import Model, load
from slimseq.inference.runtimes.registry import RUNTIMES
from slimseq.models_store import errors
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

README = Path(__file__).parents[2] / "README.md"
TEXTS = ["The children are playing in the garden.", "Good morning.", "The train to Munich leaves at half past nine."]


@pytest.fixture(scope="module")
def model(embedded: Store) -> Model:
    return load(embedded.folder(Task.TRANSLATION, "quantized"))


def test_the_example_in_readme_prints_what_it_says(embedded: Store) -> None:
    text = README.read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import load" in block)
    expected = re.findall(r"# prints: (.*)", example)

    done = subprocess.run(
        [sys.executable, "-c", example], cwd=README.parent, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


def test_every_text_gets_its_output_in_order_whatever_the_batch(model: Model) -> None:
    together = model.generate(TEXTS)
    alone = [model.generate([text])[0] for text in TEXTS]
    in_pairs = model.generate(TEXTS, batch_size=2)

    assert together == alone == in_pairs
    assert "Kinder" in together[0].text


def test_sampling_with_a_seed_gives_the_same_outputs_again(model: Model) -> None:
    first = model.generate(TEXTS, do_sample=True, seed=7)
    again = model.generate(TEXTS, do_sample=True, seed=7)

    assert first == again


@pytest.mark.parametrize("num_beams", [1, 4])
def test_pieces_add_up_to_the_whole_output(model: Model, num_beams: int) -> None:
    pieces = list(model.stream(TEXTS[0], num_beams=num_beams))

    assert "".join(pieces) == model.generate([TEXTS[0]], num_beams=num_beams)[0].text
    assert len(pieces) > 1


def test_a_closed_stream_leaves_no_thread_and_the_model_usable(model: Model) -> None:
    before = threading.active_count()
    pieces = model.stream(TEXTS[2], num_beams=1)
    next(pieces)

    pieces.close()  # type: ignore[attr-defined]

    assert threading.active_count() == before
    assert model.generate([TEXTS[1]])


def test_facts_and_line_breaks_of_a_text_stay(model: Model) -> None:
    text = "It costs $1,299.99 and weighs 187 g.\n\nThe code is `a_b`. It is late."

    [output] = model.generate([text], num_beams=1)
    streamed = "".join(model.stream(text, num_beams=1))

    assert all(each in output.text for each in ("1.299,99 $", "187 g", ".\n\n", "`a_b`"))
    assert streamed == output.text


def test_the_markup_of_a_page_stays(model: Model) -> None:
    page = "<p>It is <b>late</b>.</p><hr>"

    [output] = model.generate([page], format="html")
    streamed = "".join(model.stream(page, format="html"))

    assert output.text.startswith("<p>")
    assert "<b>" in output.text
    assert output.text.endswith("</p><hr>")
    assert streamed == output.text


def test_a_text_without_words_stays_as_it_is(model: Model) -> None:
    [empty, blank] = model.generate(["", " \n"])

    assert (empty.text, empty.finish_reason) == ("", "eos")
    assert blank.text == " \n"


def test_without_protection_nothing_is_said_to_be_lost(model: Model) -> None:
    [output] = model.generate(["The code is `a_b`."], protect=False)

    assert not output.lost


def test_an_output_has_its_warnings(model: Model) -> None:
    foreign = "Der Hund läuft schnell über die Wiese, und die Kinder spielen den ganzen Nachmittag im Garten. " * 2

    assert "language" in [each.kind for each in model.generate([foreign])[0].warnings]
    assert model.generate([foreign], warnings=False)[0].warnings == ()


def test_a_summary_at_its_limit_says_that_it_ends_in_mid_sentence_and_is_what_a_stream_sends(embedded: Store) -> None:
    text = "The company said its net profit rose 22.57 percent to 1.61 billion euros in the first quarter of the year."
    with load(embedded.folder(Task.SUMMARIZATION, "compact"), threads=1) as summarizer:
        [cut] = summarizer.generate([text], max_new_tokens=8)
        streamed = "".join(summarizer.stream(text, max_new_tokens=8))

    assert [warning.kind for warning in cut.warnings] == ["truncated", "unfinished"]
    assert cut.finish_reason == "length"
    assert streamed == cut.text


def test_no_texts_have_no_outputs_and_a_string_is_refused(model: Model) -> None:
    assert model.generate([]) == []
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        model.generate("Good morning.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 4}, "unknown option 'beams'; known are num_beams, "),
        ({"num_beams": 0}, "num_beams"),
        ({"format": "htm"}, "format: 'htm' is not one of text, html, markdown"),
        ({"on_overflow": "fail"}, "on_overflow: 'fail' is not one of truncate, error"),
        ({"do_sample": True, "top_k": 10**6}, "top_k"),
    ],
)
def test_options_are_checked_before_anything_runs(model: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidOptions, match=message):
        model.generate(TEXTS, **options)
    # At the call, not at the first piece.
    with pytest.raises(errors.InvalidOptions, match=message):
        model.stream(TEXTS[0], **options)


def test_a_runtime_is_taken_by_its_name(embedded: Store) -> None:
    folder = embedded.folder(Task.SUMMARIZATION, "quantized")

    with load(str(folder), runtime="onnxruntime", threads=1) as model:
        assert model.runtime == "onnxruntime"
        assert model.manifest.variant == "quantized"
    # The error names the known runtimes.
    with pytest.raises(errors.RuntimeUnavailable, match=next(iter(RUNTIMES))):
        load(folder, runtime="absent")


def test_a_folder_that_is_no_whole_artifact_is_refused(own_store: Store) -> None:
    folder = own_store.folder(Task.TRANSLATION, "quantized")
    (folder / "onnx" / "decoder.onnx").write_bytes(b"")

    with pytest.raises(errors.CorruptArtifact, match=r"decoder\.onnx"):
        load(folder)
    with pytest.raises(errors.UnknownVariant, match="absent"):
        load(folder.with_name("absent"))
    with pytest.raises(errors.UnsafeArtifactPath, match=r"STORE/summarization\|translation/VARIANT"):
        load(own_store.root)
