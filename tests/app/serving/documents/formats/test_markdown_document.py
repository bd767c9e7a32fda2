import contextlib

import pytest

from benchmarks.texts.structures import markdown_structure
from slimseq.app.errors import MarkupTooComplex
from slimseq.app.serving.documents.formats.document import Document
from slimseq.app.serving.documents.formats.inline import MAX_SPANS
from slimseq.app.serving.documents.formats.markdown_document import reading_markdown
from slimseq.app.serving.documents.formats.markdown_source import MAX_NESTING
from slimseq.app.serving.documents.planner import finished
from tests.app.serving.documents.formats.translators import rewritten, upper
from tests.cpu_time import cpu_seconds, longest_step


def read(markdown: str) -> Document:
    return finished(reading_markdown(markdown))


def shouted(markdown: str) -> str:
    return rewritten(reading_markdown(markdown), upper).text


def said(markdown: str, *translations: str) -> str:
    return finished(read(markdown).writing(translations)).text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# A title #\n\nSome text.\n", "# A TITLE #\n\nSOME TEXT.\n"),
        ("A title\n=======\nText", "A TITLE\n=======\nTEXT"),
        ("* one\n    - two\n\n      three\n* four\n", "* ONE\n    - TWO\n\n      THREE\n* FOUR\n"),
        ("7) one\n8) two", "7) ONE\n8) TWO"),
        ("> a quote\n>\n> > deeper", "> A QUOTE\n>\n> > DEEPER"),
        ("-\tone\n\n\ttwo\n", "-\tONE\n\n\tTWO\n"),
        ("- [ ] to do\n- [x] done", "- [ ] TO DO\n- [x] DONE"),
        ("> [!NOTE]\n> Some text", "> [!NOTE]\n> SOME TEXT"),
        ("Text[^1].\n\n[^1]: A note.\n", "TEXT[^1].\n\n[^1]: A NOTE.\n"),
        ("| a | b \\| c |\n|--:|---|\n| one | `x` |\n", "| A | B \\| C |\n|--:|---|\n| ONE | `x` |\n"),
        ("> a | b\n> --|--\n> c | d\n", "> A | B\n> --|--\n> C | D\n"),
        ("See [the guide](</a b> 'Title').", "SEE [THE GUIDE](</a b> 'Title')."),
        ("~~old~~ __new__ *words*", "~~OLD~~ __NEW__ *WORDS*"),
        ("a &amp; b &copy; c", "A & B © C"),
        ("![a picture](a.png) text", "![a picture](a.png) TEXT"),
        ("<https://example.org/a_b> here", "<https://example.org/a_b> HERE"),
        ("one\r\ntwo.\r\n\r\nthree\r\n", "ONE TWO.\r\n\r\nTHREE\r\n"),
        ("", ""),
        ("\n\n", "\n\n"),
    ],
)
def test_contents_are_replaced_and_markup_is_kept(markdown: str, expected: str) -> None:
    assert shouted(markdown) == expected


@pytest.mark.parametrize(
    "markdown",
    [
        "---\ntitle: some text\n---\n",
        '+++\ntitle = "some text"\n+++\n',
        "```python\n# some text\n```\n",
        "    some code\n",
        "<div>\nsome text\n</div>\n",
        "[label]: /address 'some text'\n",
        "***\n12 345\n* * *\n",
        "`code`",
        "![a picture](a.png)",
        "<!-- some text -->",
    ],
)
def test_what_is_no_language_is_kept_as_it_is_written(markdown: str) -> None:
    assert read(markdown).texts == [] and shouted(markdown) == markdown


@pytest.mark.parametrize(
    ("markdown", "texts"),
    [
        ("one\ntwo\nthree.", ["one two three."]),
        ("One.\nTwo.", ["One.", "Two."]),
        # One that is seen parts texts, unless it is within a sentence.
        ("one  \nTwo\\\nThree", ["one", "Two", "Three"]),
        ("one  \ntwo\\\nthree", ["one two three"]),
        ("The **red\nhouse** is old", ["The red house is old", "red house"]),
        ("---\n\nNo front matter\n\n---\n", ["No front matter"]),
        ("a **b** " * (MAX_SPANS + 1), ["a", "b"] * (MAX_SPANS + 1)),
    ],
)
def test_a_line_break_within_a_sentence_is_a_space(markdown: str, texts: list[str]) -> None:
    assert read(markdown).texts == texts


def test_line_breaks_that_stay_keep_what_their_line_begins_with() -> None:
    assert shouted("> One.\n> two\n> three\\\n> four") == "> ONE.\n> TWO THREE\\\n> FOUR"
    assert shouted("1. One.\n   Two.\nLazy.") == "1. ONE.\n   TWO.\nLAZY."


def test_atoms_stay_in_their_sentence() -> None:
    markdown = "Type `ls -l` or ![it](a.png) now, <kbd>Ctrl</kbd> too"
    assert read(markdown).texts == ["Type \ue000 or \ue001 now, \ue002 too"]
    assert said(markdown, "Jetzt \ue002 auch \ue001 oder \ue000 tippen") == (
        "Jetzt <kbd>Ctrl</kbd> auch ![it](a.png) oder `ls -l` tippen"
    )


def test_a_code_span_over_two_lines_of_a_quote_moves_with_the_start_of_its_line() -> None:
    assert said("> Type `a\n> b` now.", "Nun \ue000 tippen.") == "> Nun `a\n> b` tippen."


@pytest.mark.parametrize("lost", ["Nichts davon.", "Alles \ue000 und \ue000.", "\ue001"])
def test_each_atom_comes_back_once_whatever_the_translation_is(lost: str) -> None:
    markdown = "See **the `first`** and ![the second](b.png)."

    written = said(markdown, lost, lost)

    assert markdown_structure(written) == markdown_structure(markdown)


def test_a_link_whose_text_is_its_label_keeps_the_label() -> None:
    markdown = "See [the guide] and [Guide][].\n\n[the guide]: /a\n[guide]: /b\n"

    assert shouted(markdown) == "SEE [THE GUIDE][the guide] AND [GUIDE][Guide].\n\n[the guide]: /a\n[guide]: /b\n"


@pytest.mark.parametrize(
    ("translation", "written"),
    [
        ("- ein Wort", "\\- ein Wort"),
        ("1986. Ein Jahr", "1986\\. Ein Jahr"),
        ("# kein Titel", "\\# kein Titel"),
        ("> kein Zitat", "\\> kein Zitat"),
        ("---", "\\---"),
        ("kein *Sternchen*, kein_Strich, _kein_ `Code`", "kein \\*Sternchen\\*, kein_Strich, \\_kein\\_ \\`Code\\`"),
        ("[kein](Link) <b> a < b & c &amp; \\", "\\[kein\\](Link) \\<b> a < b & c \\&amp; \\\\"),
    ],
)  # fmt: skip
def test_what_a_model_writes_makes_no_structure(translation: str, written: str) -> None:
    assert said("Some words", translation) == written


def test_what_ends_a_cell_or_a_heading_is_escaped() -> None:
    assert said("| a |\n|---|\n", "x | y") == "| x \\| y |\n|---|\n"
    assert said("# A title", "Nummer #") == "# Nummer \\#"
    assert said("# A title", "1. Nummer") == "# 1. Nummer"
    assert said("Look [here](/a) now", "Oh! hier nun", "hier") == "Oh! [hier](/a) nun"
    assert said("Look [here](/a) now", "Oh!hier nun", "hier") == "Oh\\![hier](/a) nun"


def test_emphasis_that_would_not_be_emphasis_gets_other_delimiters() -> None:
    # An underscore within a word means nothing; an accent of its own is within a word.
    assert said("The _cafe_ here", "Das Cafe\u0301 hier", "Cafe") == "Das *Cafe*\u0301 hier"
    assert said("***a* b** c d", "x y", "x y", "x") == "***x* y**"


def test_a_block_that_cannot_be_written_stays_as_it_was_and_is_reported() -> None:
    written = finished(read("One *two* three\n\nFour").writing(["", "zwei", "Vier"]))

    assert written.text == "One *two* three\n\nVier"
    assert written.untranslated == ("One two three",)


def test_the_plain_text_has_a_line_for_each_block_and_no_markup() -> None:
    markdown = (
        "---\na: b\n---\n# Title\n\nSome **bold** [text](/a)\nwith `code`.\n\n```\nx\n```\n- One\n- Two<br>three\n"
    )

    assert read(markdown).plain == "Title\nSome bold text with code.\nOne\nTwo\nthree"


@pytest.mark.parametrize("markdown", ["# Title", "---\na: b\n---\n\n- One", "| A |\n| --- |\n| b |"])
def test_a_byte_order_mark_hides_no_markup(markdown: str) -> None:
    assert shouted("\ufeff" + markdown) == "\ufeff" + shouted(markdown)


def test_blocks_in_blocks_have_a_limit_and_the_line_is_named() -> None:
    deep = "text\n\n" + "> " * (MAX_NESTING + 1) + "deep"

    with pytest.raises(MarkupTooComplex, match="more than 100 deep at line 3"):
        read(deep)
    assert shouted("> " * 50 + "deep") == "> " * 50 + "DEEP"


def test_a_block_with_too_much_in_it_is_refused_with_its_line() -> None:
    with pytest.raises(MarkupTooComplex, match="the text at line 3 has more than 10000 signs"):
        read("text\n\n" + "*a* " * 5_001)
    with pytest.raises(MarkupTooComplex, match="from line 3 on there are more than 10000 lines without an empty one"):
        read("text\n\n" + "a\n" * 10_001)
    with pytest.raises(MarkupTooComplex, match="from line 1 on"):
        read("a\n" * 10_001)
    with pytest.raises(MarkupTooComplex, match=r"from line 3 on there are more than 2500 lines .* in 20 quotes"):
        read("text\n\n" + "> - " * 20 + "a\n" * 9_000)
    with pytest.raises(MarkupTooComplex, match=r"from line 1 on there are more than 1000 lines .* in 50 quotes"):
        read("a > b\n" + "> " * 50 + "a\n" * 9_000)
    with pytest.raises(MarkupTooComplex, match=r"from line 3 on there are more than 40000 '\|'"):
        read("text\n\n" + "|a" * 13_500 + "\n" + "|-" * 13_500 + "\n" + "|a" * 13_500)
    with pytest.raises(MarkupTooComplex, match=r"from line 1 on there are more than 40000 '\|'"):
        read("<!--\n```\n-->\n|a|b\n|-|-\n" + "|a|b|c|d|e\n" * 9000)
    with pytest.raises(MarkupTooComplex, match="from line 1 on there are more than 10000 lines"):
        read("a\n\u00a0\n" * 5_001)
    assert len(read("a\n\n" * 10_001).texts) == 10_001
    assert read("|a\n\n" * 40_001).plain.count("a") == 40_001


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_code_may_have_any_number_of_bars(fence: str) -> None:
    code = f"{fence}\n{'| a | b | c |' * 2}\n|---|\n{'| a | b | c | d |' * 9000}\n{fence}\n"
    table = "| a | b |\n|---|---|\n| c | d |\n"

    assert shouted(f"One.\n{code}Two.\n\n- {code.replace(chr(10), chr(10) + '  ')}\n{table}") == (
        f"ONE.\n{code}TWO.\n\n- {code.replace(chr(10), chr(10) + '  ')}\n{table.upper()}"
    )


def test_a_paragraph_may_have_any_number_of_bars() -> None:
    assert shouted("a | b " * 20_001) == "A | B " * 20_001


@pytest.mark.parametrize(
    "busiest",
    ["*a* " * 5000, "[a](b) " * 5000, "[" * 10_000, "a.\n" * 10_000, "- a\n" * 10_000,
     "|a" * 13_000 + "\n" + "|-" * 13_000 + "\n" + "|a" * 13_000, "|" * 500_000, "```\n" + "|a|b|c|d\n" * 9_990 + "```",
     "> - " * 20 + "|" * 100_000 + "\n" + "|a\n" * 2_490],
)  # fmt: skip
def test_no_step_of_what_is_allowed_takes_long(busiest: str) -> None:
    # Generous: they take up to 0.4 s.
    bound = 1.5
    read_seconds, document = longest_step(lambda: reading_markdown(busiest), below=bound)
    texts = [text.upper() for text in document.texts]
    write_seconds, _ = longest_step(lambda: document.writing(texts), below=bound)

    assert max(read_seconds, write_seconds) < bound


@pytest.mark.parametrize(
    "hostile",
    ["[", "![", "*", "**a", "_a_", "`", "`a``", "<a ", "<!--", "&amp", "~~", "> ", "- ", "1. ", "|", "a|b\n-|-\n", "\\",
     "[a](", "[a]: b\n", "(", "<x>", "***a", "\n", "a\n", "#", "\t", "    a\n", "[a](<b", "![a][", '"', "- a\n  "],
)  # fmt: skip
def test_long_runs_take_bounded_time(hostile: str) -> None:
    markdown = hostile * (20_000 // len(hostile))

    def rewrite() -> None:
        with contextlib.suppress(MarkupTooComplex):
            rewritten(reading_markdown(markdown), upper)

    assert cpu_seconds(rewrite, below=5) < 5


def test_long_markdown_is_read_in_small_steps() -> None:
    markdown = "Some **words** and `code` here.\n\n" * 5000

    assert longest_step(lambda: reading_markdown(markdown), below=0.25)[0] < 0.25
