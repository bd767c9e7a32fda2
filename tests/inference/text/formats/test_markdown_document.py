"""The texts of Markdown are found and replaced, and its structure stays, whatever a model writes."""

import pytest

from slimseq.inference.text.errors import MarkupTooComplex
from slimseq.inference.text.formats.markdown_document import MAX_CHARACTERS, read_markdown
from slimseq.inference.text.formats.markdown_syntax import MAX_NESTING
from slimseq.inference.text.formats.passages import MAX_ELEMENTS
from tests.inference.text.formats.translators import output, rewritten, upper
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


# Private-use characters, which stand for the first three atoms of a text. Atoms are not translated, such as code and
# images.
ATOM_0 = "\ue000"
ATOM_1 = "\ue001"
ATOM_2 = "\ue002"


def in_upper_case(markdown: str) -> str:
    """Returns the document with each of its texts in upper case, in place of a translation."""
    return rewritten(read_markdown(markdown), upper).text


def translated(markdown: str, translation: str, *words_of_elements: str) -> str:
    """Returns a document of one text with its translation.

    `words_of_elements` are the words of the translation that belong to each inline element, such as a link, in order.
    """
    return read_markdown(markdown).write([output(translation, *words_of_elements)]).text


@pytest.mark.parametrize(("markdown", "expected"), TABLES["contents_are_replaced_and_markup_is_kept"])
def test_contents_are_replaced_and_markup_is_kept(markdown: str, expected: str) -> None:
    assert in_upper_case(markdown) == expected


@pytest.mark.parametrize("markdown", TABLES["what_is_no_language_is_kept_as_it_is_written"])
def test_what_is_no_language_is_kept_as_it_is_written(markdown: str) -> None:
    assert read_markdown(markdown).texts == []
    assert in_upper_case(markdown) == markdown


@pytest.mark.parametrize(
    ("markdown", "texts"),
    [
        ("one\ntwo\nthree.", ["one two three."]),
        ("One.\nTwo.", ["One.", "Two."]),
        # A hard line break ends a text, unless it is within a sentence.
        ("one  \nTwo\\\nThree", ["one", "Two", "Three"]),
        ("one  \ntwo\\\nthree", ["one two three"]),
        ("The **red\nhouse** is old", ["The red house is old"]),
        ("---\n\nNo front matter\n\n---\n", ["No front matter"]),
        ("a **b** " * (MAX_ELEMENTS + 1), ["a", "b"] * (MAX_ELEMENTS + 1)),
    ],
)
def test_a_line_break_within_a_sentence_is_a_space_and_other_ones_may_end_a_text(
    markdown: str, texts: list[str]
) -> None:
    assert read_markdown(markdown).texts == texts


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("> One.\n> two\n> three\\\n> four", "> ONE.\n> TWO THREE\\\n> FOUR"),
        ("1. One.\n   Two.\nLazy.", "1. ONE.\n   TWO.\n   LAZY."),
    ],
    ids=["a quote", "a list"],
)
def test_line_breaks_that_stay_keep_what_their_line_begins_with(markdown: str, expected: str) -> None:
    assert in_upper_case(markdown) == expected


def test_atoms_stay_in_their_sentence() -> None:
    markdown = "Type `ls -l` or ![it](a.png) now, <kbd>Ctrl</kbd> too"

    texts = read_markdown(markdown).texts
    written = translated(markdown, f"Jetzt {ATOM_2} auch {ATOM_1} oder {ATOM_0} tippen")

    assert texts == [f"Type {ATOM_0} or {ATOM_1} now, {ATOM_2} too"]
    assert written == "Jetzt <kbd>Ctrl</kbd> auch ![it](a.png) oder `ls -l` tippen"


def test_a_code_span_over_two_lines_of_a_quote_is_written_in_one() -> None:
    assert translated("> Type `a\n> b` now.", f"Nun {ATOM_0} tippen.") == "> Nun `a b` tippen."


def test_a_link_whose_text_is_its_label_keeps_the_label() -> None:
    definitions = "\n\n[the guide]: /a\n[map]: /b\n"

    written = translated(f"See [the guide] or [Map][].{definitions}", "Siehe Handbuch oder Karte.", "Handbuch", "Karte")

    assert written == f"Siehe [Handbuch][the guide] oder [Karte][map].{definitions}"


@pytest.mark.parametrize(("translation", "written"), TABLES["what_a_model_writes_makes_no_structure"])
def test_what_a_model_writes_makes_no_structure(translation: str, written: str) -> None:
    assert translated("Some words", translation) == written


def test_what_ends_a_cell_is_escaped() -> None:
    assert translated("| a |\n|---|\n", "x | y") == "| x \\| y |\n| --- |\n"


def test_what_ends_a_heading_is_escaped_and_what_begins_a_list_is_not() -> None:
    assert translated("# A title", "Nummer #") == "# Nummer \\#"
    assert translated("# A title", "1. Nummer") == "# 1. Nummer"


def test_an_exclamation_mark_is_escaped_only_where_it_would_make_an_image_of_a_link() -> None:
    markdown = "Look [here](/a) now"

    apart = translated(markdown, "Oh! hier nun", "hier")
    before_the_link = translated(markdown, "Oh!hier nun", "hier")

    assert apart == "Oh! [hier](/a) nun"
    assert before_the_link == "Oh\\![hier](/a) nun"


def test_emphasis_within_a_word_gets_asterisks() -> None:
    # An underscore within a word means nothing. The combining accent after "Cafe" belongs to the word.
    assert translated("The _cafe_ here", "Das Cafe\u0301 hier", "Cafe") == "Das *Cafe*\u0301 hier"


def test_nested_emphasis_that_begins_together_keeps_its_delimiters() -> None:
    strong = "x y"
    emphasis_in_strong = "x"

    assert translated("***a* b** c d", "x y", strong, emphasis_in_strong) == "***x* y**"


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
    assert in_upper_case("\ufeff" + markdown) == "\ufeff" + in_upper_case(markdown)


@pytest.mark.parametrize(
    "deep",
    ["> " * MAX_NESTING + "a", "*a " * MAX_NESTING + "a*" * MAX_NESTING],
    ids=["quotes", "emphasis"],
)
def test_markup_in_markup_has_a_limit_and_the_line_is_named(deep: str) -> None:
    with pytest.raises(MarkupTooComplex, match="nested more than 20 deep at line 3"):
        read_markdown(f"text\n\n{deep}")


def test_markup_below_the_limit_of_nesting_is_kept() -> None:
    quotes_and_lists = "> " * 10 + "- " * 4

    assert in_upper_case(f"{quotes_and_lists}deep") == f"{quotes_and_lists}DEEP"


def test_long_documents_are_refused() -> None:
    with pytest.raises(MarkupTooComplex, match="has 100001 characters; Markdown may have 100000"):
        read_markdown("a" * (MAX_CHARACTERS + 1))


def test_too_many_texts_are_refused() -> None:
    columns = 100
    heading = "|a" * columns
    delimiters = "|-" * columns
    rows = "|a\n" * 101

    with pytest.raises(MarkupTooComplex, match="more than 10000 paragraphs"):
        read_markdown(f"{heading}\n{delimiters}\n{rows}")
