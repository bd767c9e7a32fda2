"""The forced passes that score a translation. Outputs are given by hand: no thread, no generation."""

from dataclasses import replace

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.text.alignment import AlignedPasses, ScoringPass
from slimseq.inference.text.passes import SinglePass
from slimseq.inference.text.sentences import Segment
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan
from slimseq.inference.tokenizer import Encoding

SOURCE = "A green house."
OUTPUT = TextOutput("Ein grünes Haus.", "eos", input_tokens=5, output_tokens=3, truncated=False)
GREEN, HOUSE = (2, 7), (8, 13)


def forced(text: str, *values: float) -> TextOutput:
    """Returns the output of a forced pass. Its tokens have four characters each, and these log-probabilities."""
    return replace(OUTPUT, text=text, scores=tuple(Score(4 * at, 4 * at + 4, value) for at, value in enumerate(values)))


def test_scores_say_how_much_each_token_depends_on_each_element(translator: TextGenerator) -> None:
    passes = ScoringPass(OUTPUT, SOURCE, [GREEN, (0, 0), HOUSE], translator)

    given = [each for each in passes.inputs if isinstance(each, Encoding)]
    assert [each.ids for each in given] == [
        translator.encode(text).ids for text in (SOURCE, "A X house.", "A green X.")
    ]
    assert all(each.output and each.output.text == OUTPUT.text for each in given)
    passes.receive([forced(OUTPUT.text, -1.0, -2.0), forced(OUTPUT.text, -1.5, -9.0), forced(OUTPUT.text, -1.0, -2.5)])

    assert passes.output.scores == (
        Score(0, 4, 0.5, 0),
        Score(4, 8, 7.0, 0),
        Score(0, 4, 0.0, 2),
        Score(4, 8, 0.5, 2),
    )


def test_nothing_is_scored_where_no_element_or_no_translation_has_words(translator: TextGenerator) -> None:
    scored = replace(OUTPUT, scores=(Score(0, 3, 1.0),))

    for passes in (
        ScoringPass(scored, SOURCE, [(0, 0)], translator),
        ScoringPass(replace(scored, text="…"), SOURCE, [GREEN], translator),
    ):
        assert not passes.inputs
        assert passes.output.scores == ()


def test_a_sentence_is_translated_and_then_scored(translator: TextGenerator) -> None:
    passes = AlignedPasses(SinglePass(SOURCE), Segment("", SOURCE, elements=(GREEN,)), translator)

    assert passes.inputs == [SOURCE]
    passes.receive([OUTPUT])
    assert len(passes.inputs) == 2
    passes.receive([forced(OUTPUT.text, -1.0), forced(OUTPUT.text, -2.0)])

    assert passes.output == OUTPUT
    assert passes.output.scores == (Score(0, 4, 1.0, 0),)


def test_the_place_of_a_copied_word_is_known_and_an_element_of_copied_words_is_not_scored(
    translator: TextGenerator,
) -> None:
    span = ProtectedSpan(4, 8, SpanKind.WORD, "Łódź")
    segment = Segment("", "See Łódź.", (span,), ((4, 8),))
    passes = AlignedPasses(SinglePass("See Peter."), segment, translator)

    passes.receive([replace(OUTPUT, text="Łódź sehen.")])

    assert not passes.inputs
    assert passes.output.scores == (Score(0, 4, 0.0, 0), Score(0, 4, 1.0, 0))
