"""What a comparison adds to the responses of variants: agreement with a reference, and word diffs."""

from slimseq.answers import FailedVariant, Output, Timings
from slimseq.app.errors import ShuttingDown
from slimseq.app.generate.comparison import MAX_CHARACTERS, compare_with, reference_among, word_diff
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.http.problems import problem_of
from slimseq.models_store.manifest import Task


def response(variant: str, *texts: str) -> GenerationResponse:
    outputs = [
        Output(text=text, finish_reason="eos", input_tokens=1, output_tokens=1, truncated=False) for text in texts
    ]
    return GenerationResponse(
        id=variant,
        task=Task.TRANSLATION,
        variant=variant,
        digest="sha256:0",
        runtime="onnxruntime",
        outputs=outputs,
        timings=Timings(queue_ms=0, inference_ms=0, total_ms=0),
    )


def test_a_diff_marks_the_words_that_changed_and_adds_up_to_both_texts() -> None:
    before, after = "Guten Morgen, liebe  Leute.", "Guten Tag, liebe  Leute!"

    parts = word_diff(before, after)

    assert "".join(part.text for part in parts if part.op != "insert") == before
    assert "".join(part.text for part in parts if part.op != "delete") == after
    assert [part.text for part in parts if part.op == "insert"] == ["Tag,", "Leute!"]


def test_results_are_compared_with_the_reference_and_failures_stay() -> None:
    original = response("original", "Guten Morgen.", "Es regnet.")
    failed = FailedVariant(variant="pruned", error=problem_of(ShuttingDown()))

    compact = response("compact", "Guten Morgen.", "Es schneit.")

    reference_result, compact_result, failed_result = compare_with(original, [original, compact, failed])

    # Nothing is compared with itself.
    assert reference_result.agreement is None  # type: ignore[union-attr]
    assert reference_result.diff is None  # type: ignore[union-attr]
    agreement = compact_result.agreement  # type: ignore[union-attr]
    assert agreement is not None
    # One of two outputs is equal.
    assert (agreement.reference, agreement.metric, agreement.exact) == ("original", "chrf", 0.5)
    assert 0.5 < agreement.similarity < 1
    assert failed_result is failed


def test_very_long_outputs_are_not_compared() -> None:
    word = "Wort "
    long = word * (MAX_CHARACTERS // len(word) + 1)

    [_, other] = compare_with(response("original", long), [response("original", long), response("compact", long)])

    assert other.agreement is None  # type: ignore[union-attr]


def test_the_reference_is_the_root_if_it_was_compared_else_the_first() -> None:
    references = {"original": "original", "compact": "original", "pruned": "original"}

    assert reference_among(["compact", "original"], references) == "original"
    assert reference_among(["compact", "pruned"], references) == "compact"
    assert reference_among(["compact", "pruned"], {}) == "compact"
