"""What a comparison adds to the responses of variants: agreement with a reference, and word diffs."""

from slimseq.answers import ComparedGeneration, FailedVariant, Output, Timings
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


def test_outputs_are_compared_with_the_outputs_of_the_reference() -> None:
    original = response("original", "Guten Morgen.", "Es regnet.")
    compact = response("compact", "Guten Morgen.", "Es schneit.")

    _, result = compare_with(original, [original, compact])

    assert isinstance(result, ComparedGeneration)
    agreement = result.agreement
    assert agreement is not None
    assert agreement.reference == "original"
    assert agreement.metric == "chrf"
    # One of two outputs is equal, and the other one is similar.
    assert agreement.exact == 0.5
    assert 0.5 < agreement.similarity < 1


def test_the_reference_is_not_compared_with_itself() -> None:
    original = response("original", "Guten Morgen.")

    [result] = compare_with(original, [original])

    assert isinstance(result, ComparedGeneration)
    assert result.agreement is None
    assert result.diff is None


def test_a_failed_variant_stays_in_the_results() -> None:
    original = response("original", "Guten Morgen.")
    failed = FailedVariant(variant="pruned", error=problem_of(ShuttingDown()))

    _, result = compare_with(original, [original, failed])

    assert result is failed


def test_very_long_outputs_are_not_compared() -> None:
    word = "Wort "
    long = word * (MAX_CHARACTERS // len(word) + 1)

    original, compact = response("original", long), response("compact", long)

    _, result = compare_with(original, [original, compact])

    assert isinstance(result, ComparedGeneration)
    assert result.agreement is None


def test_the_reference_is_the_root_if_it_was_compared_else_the_first() -> None:
    references = {"original": "original", "compact": "original", "pruned": "original"}

    assert reference_among(["compact", "original"], references) == "original"
    assert reference_among(["compact", "pruned"], references) == "compact"
    assert reference_among(["compact", "pruned"], {}) == "compact"
