"""The passes that put the targets of terms into a translation. Outputs are given by hand: no thread, no generation."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.text.glossary import Glossary, find_terms, with_terms
from slimseq.inference.text.insertion import MAX_TERMS, InsertionPasses, put_targets
from slimseq.inference.text.passes import NAMES
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, find_spans
from slimseq.inference.tokenizer import Encoding

SOURCE = "The children play in the garden."
OUTPUT = "Die Kinder spielen im Garten."


def written(text: str) -> TextOutput:
    return TextOutput(text, "eos", input_tokens=5, output_tokens=3, truncated=False)


def passes_of(translator: TextGenerator, text: str = SOURCE, **terms: str) -> InsertionPasses:
    found = list(find_terms(text, [Glossary(terms.items())], "en"))
    return InsertionPasses(text, with_terms(find_spans(text, "en"), found), "en", "de", translator)


def scored(passes: InsertionPasses, word: str, elements: Sequence[int] = (0,)) -> list[TextOutput]:
    """The outputs of a scoring pass of which one word depends on some of the elements."""
    outputs = []
    for index, given in enumerate(passes.inputs):
        assert isinstance(given, Encoding)
        assert given.output
        text = given.output.text
        start = text.index(word)
        # The first output is for the sentence with all of its words.
        value = -9.0 if index - 1 in elements else 0.0
        outputs.append(replace(written(text), scores=(Score(start, start + len(word), value),)))
    return outputs


def test_a_translation_with_all_targets_needs_one_pass(translator: TextGenerator) -> None:
    passes = passes_of(translator, garden="Garten")

    assert passes.inputs == [SOURCE]
    passes.receive([written(OUTPUT)])

    assert not passes.inputs
    assert passes.output == written(OUTPUT)


def test_a_target_takes_the_place_of_the_words_that_depend_on_its_term(translator: TextGenerator) -> None:
    passes = passes_of(translator, garden="Hof")

    passes.receive([written(OUTPUT)])
    # The sentence, the sentence without the term, and the sentence without the word before the term.
    assert len(passes.inputs) == 3
    passes.receive(scored(passes, "Garten"))

    assert passes.output.text == "Die Kinder spielen im Hof."
    assert passes.output.scores == ()


# The elements that the word depends on: of a term, 0 is the term itself, 1 the word before it.
@pytest.mark.parametrize("elements", [(), (0, 1)], ids=["no word", "a compound"])
def test_where_no_word_or_a_compound_depends_on_a_term_the_sentence_is_translated_again(
    translator: TextGenerator, elements: Sequence[int]
) -> None:
    passes = passes_of(translator, garden="Hof")

    passes.receive([written(OUTPUT)])
    passes.receive(scored(passes, "Garten", elements))
    assert passes.inputs == [f"The children play in the {NAMES[0]}."]
    passes.receive([written(f"Die Kinder spielen im {NAMES[0]}.")])

    assert passes.output.text == "Die Kinder spielen im Hof."
    # Those of both translations.
    assert passes.output.output_tokens == 3 + 3


def test_more_terms_than_are_looked_for_are_protected_at_once(translator: TextGenerator) -> None:
    words = [f"word{letter}" for letter in "abcdefghi"]
    passes = passes_of(translator, " ".join(words), **{word: f"X{word}" for word in words})

    passes.receive([written("Worte.")])

    assert len(words) == MAX_TERMS + 1
    assert passes.inputs == [" ".join(NAMES[: len(words)])]


def test_alternatives_get_their_targets_one_after_the_other_and_others_are_left_out(translator: TextGenerator) -> None:
    passes = passes_of(translator, garden="Hof")
    others = tuple(map(written, ["Kinder im Garten.", "Kinder im Hof.", "Kinder."]))

    passes.receive([replace(written(OUTPUT), alternatives=others)])
    passes.receive(scored(passes, "Garten"))
    passes.receive(scored(passes, "Garten"))
    passes.receive(scored(passes, "Kinder", ()))

    assert passes.output.text == "Die Kinder spielen im Hof."
    assert [each.text for each in passes.output.alternatives] == ["Kinder im Hof.", "Kinder im Hof."]


def test_a_cut_translation_is_not_scored(translator: TextGenerator) -> None:
    passes = passes_of(translator, garden="Hof", children="Kinder")

    passes.receive([replace(written("Die Kinder"), finish_reason="length")])

    assert not passes.inputs
    assert passes.output.lost == ("Hof",)


def test_the_words_of_a_phrase_are_replaced_together_and_what_is_taken_stays() -> None:
    term = ProtectedSpan(0, 9, SpanKind.TERM, "old house", "Bude")
    text = "Das alte Haus kostet 7 Haus."
    scores = [Score(4, 8, 2.0), Score(9, 13, 3.0), Score(23, 27, 4.0)]

    assert put_targets(text, scores, [term], [(23, 27)]) == "Das Bude kostet 7 Haus."
    assert put_targets(text, scores, [term], [(0, len(text))]) is None
