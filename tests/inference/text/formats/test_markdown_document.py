"""The texts of Markdown are found and replaced, and its structure stays, whatever a model writes."""

import pytest

from slimseq.inference.text.errors import MarkupTooComplex
from slimseq.inference.text.formats.markdown_document import MAX_CHARACTERS, read_markdown
from slimseq.inference.text.formats.markdown_syntax import MAX_NESTING
from slimseq.inference.text.formats.passages import MAX_ELEMENTS
from tests.inference.text.formats.translators import output, rewritten, upper
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def shouted(markdown: str) -> str:
    return rewritten(read_markdown(markdown), upper).text


def said(markdown: str, translation: str, *found: str) -> str:
    return read_markdown(markdown).write([output(translation, *found)]).text


@pytest.mark.parametrize(("markdown", "expected"), TABLES["contents_are_replaced_and_markup_is_kept"])
def test_contents_are_replaced_and_markup_is_kept(markdown: str, expected: str) -> None:
    assert shouted(markdown) == expected


@pytest.mark.parametrize("markdown", TABLES["what_is_no_language_is_kept_as_it_is_written"])
def test_what_is_no_language_is_kept_as_it_is_written(markdown: str) -> None:
    assert read_markdown(markdown).texts == []
    assert shouted(markdown) == markdown


@pytest.mark.parametrize(
    ("markdown", "texts"),
    [
        ("one\ntwo\nthree.", ["one two three."]),
        ("One.\nTwo.", ["One.", "Two."]),
        # One that is seen parts texts, unless it is within a sentence.
        ("one  \nTwo\\\nThree", ["one", "Two", "Three"]),
        ("one  \ntwo\\\nthree", ["one two three"]),
        ("The **red\nhouse** is old", ["The red house is old"]),
        ("---\n\nNo front matter\n\n---\n", ["No front matter"]),
        ("a **b** " * (MAX_ELEMENTS + 1), ["a", "b"] * (MAX_ELEMENTS + 1)),
    ],
)
def test_a_line_break_within_a_sentence_is_a_space(markdown: str, texts: list[str]) -> None:
    assert read_markdown(markdown).texts == texts


def test_line_breaks_that_stay_keep_what_their_line_begins_with() -> None:
    assert shouted("> One.\n> two\n> three\\\n> four") == "> ONE.\n> TWO THREE\\\n> FOUR"
    assert shouted("1. One.\n   Two.\nLazy.") == "1. ONE.\n   TWO.\n   LAZY."


def test_atoms_stay_in_their_sentence() -> None:
    markdown = "Type `ls -l` or ![it](a.png) now, <kbd>Ctrl</kbd> too"
    assert read_markdown(markdown).texts == ["Type \ue000 or \ue001 now, \ue002 too"]
    assert said(markdown, "Jetzt \ue002 auch \ue001 oder \ue000 tippen") == (
        "Jetzt <kbd>Ctrl</kbd> auch ![it](a.png) oder `ls -l` tippen"
    )


def test_a_code_span_over_two_lines_of_a_quote_is_written_in_one() -> None:
    assert said("> Type `a\n> b` now.", "Nun \ue000 tippen.") == "> Nun `a b` tippen."


def test_a_link_whose_text_is_its_label_keeps_the_label() -> None:
    definitions = "\n\n[the guide]: /a\n[map]: /b\n"

    written = said(f"See [the guide] or [Map][].{definitions}", "Siehe Handbuch oder Karte.", "Handbuch", "Karte")

    assert written == f"Siehe [Handbuch][the guide] oder [Karte][map].{definitions}"


@pytest.mark.parametrize(("translation", "written"), TABLES["what_a_model_writes_makes_no_structure"])
def test_what_a_model_writes_makes_no_structure(translation: str, written: str) -> None:
    assert said("Some words", translation) == written


def test_what_ends_a_cell_or_a_heading_is_escaped() -> None:
    assert said("| a |\n|---|\n", "x | y") == "| x \\| y |\n| --- |\n"
    assert said("# A title", "Nummer #") == "# Nummer \\#"
    assert said("# A title", "1. Nummer") == "# 1. Nummer"
    assert said("Look [here](/a) now", "Oh! hier nun", "hier") == "Oh! [hier](/a) nun"
    assert said("Look [here](/a) now", "Oh!hier nun", "hier") == "Oh\\![hier](/a) nun"


def test_emphasis_that_would_not_be_emphasis_gets_other_delimiters() -> None:
    # An underscore within a word means nothing; an accent of its own is within a word.
    assert said("The _cafe_ here", "Das Cafe\u0301 hier", "Cafe") == "Das *Cafe*\u0301 hier"
    assert said("***a* b** c d", "x y", "x y", "x") == "***x* y**"


def test_a_block_that_cannot_be_written_stays_as_it_was_and_is_reported() -> None:
    written = read_markdown("One *two* three\n\nFour").write([output(""), output("Vier")])

    assert written.text == "One *two* three\n\nVier"
    assert written.untranslated == ("One two three",)


def test_the_plain_text_has_a_line_for_each_block_and_no_markup() -> None:
    markdown = (
        "---\na: b\n---\n# Title\n\nSome **bold** [text](/a)\nwith `code`.\n\n```\nx\n```\n- One\n- Two<br>three\n"
    )

    assert read_markdown(markdown).plain == "Title\nSome bold text with code.\nOne\nTwo\nthree"


@pytest.mark.parametrize("markdown", ["# Title", "---\na: b\n---\n\n- One", "| A |\n| --- |\n| b |"])
def test_a_byte_order_mark_hides_no_markup(markdown: str) -> None:
    assert shouted("\ufeff" + markdown) == "\ufeff" + shouted(markdown)


@pytest.mark.parametrize("deep", ["> " * MAX_NESTING + "a", "*a " * MAX_NESTING + "a*" * MAX_NESTING])
def test_markup_in_markup_has_a_limit_and_the_line_is_named(deep: str) -> None:
    with pytest.raises(MarkupTooComplex, match="nested more than 20 deep at line 3"):
        read_markdown(f"text\n\n{deep}")
    assert shouted("> " * 10 + "- " * 4 + "deep") == "> " * 10 + "- " * 4 + "DEEP"


def test_long_documents_and_too_many_texts_are_refused() -> None:
    with pytest.raises(MarkupTooComplex, match="has 100001 characters; Markdown may have 100000"):
        read_markdown("a" * (MAX_CHARACTERS + 1))
    with pytest.raises(MarkupTooComplex, match="more than 10000 paragraphs"):
        read_markdown("|a" * 100 + "\n" + "|-" * 100 + "\n" + "|a\n" * 101)
