import pytest

from slimseq.inference.text.errors import UnclosedMarkup
from slimseq.inference.text.formats.html_document import read_html
from tests.inference.text.formats.translators import rewritten, upper


def shouted(html: str) -> str:
    return rewritten(read_html(html), upper).text


@pytest.mark.parametrize(
    ("html", "filled"),
    [
        ('<p class="green">Hello!</p>', '<p class="green">HELLO!</p>'),
        ("<P Class=green\n>Hello <B>you</B >\n there</P>", "<P Class=green\n>HELLO <B>YOU</B > THERE</P>"),
        ("<ul><li>One<li>Two</ul>", "<ul><li>ONE<li>TWO</ul>"),
        ("one<br>two<img src=a.png alt='a picture'/>", "ONE<br>TWO<img src=a.png alt='a picture'/>"),
        ("fish &amp; chips &lt;b>", "FISH &amp; CHIPS &lt;B&gt;"),
        ("a < b", "A &lt; B"),
        ("<!doctype html><html><head><title>Hi</title></head><body>Yes<!-- no --></body></html>",
         "<!doctype html><html><head><title>HI</title></head><body>YES<!-- no --></body></html>"),
        ("<svg><path d='M0'/></svg>text", "<svg><path d='M0'/></svg>TEXT"),
        ("", ""),
        ("no tags", "NO TAGS"),
    ],
)  # fmt: skip
def test_texts_are_replaced_and_tags_are_kept(html: str, filled: str) -> None:
    assert shouted(html) == filled


@pytest.mark.parametrize(
    "html",
    [
        "<script>if (a < b && c) { say('hello') }</script>",
        "<style>p > a { color: red }</style>",
        "<code>let x = 1</code>",
        '<p translate="no">Acme <b>Bank</b></p>',
        "<p>12 &nbsp;&mdash; 3</p>",
        "<!-- <b> -->",
        "<!--><!---><!-- a --!><?b?><!c>",
    ],
)
def test_what_is_no_language_is_kept_as_it_is_written(html: str) -> None:
    assert read_html(html).texts == [] and shouted(html) == html


def test_translation_is_allowed_again_inside_of_what_is_not_translated() -> None:
    assert shouted('<p translate="no">Acme <i translate="yes">bank</i> co</p>') == (
        '<p translate="no">Acme <i translate="yes">BANK</i> co</p>'
    )


def test_a_line_break_is_a_space_except_in_preformatted_text() -> None:
    assert read_html("<p>one\n   two</p><pre>one\n   two</pre>").texts == ["one two", "one\n   two"]


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<p>a <b>red</p>", "<b> at line 1, column 6 is not closed before </p> at line 1, column 12"),
        ("<p>a\n<i>b", "<i> at line 2, column 1 is not closed"),
        ("a</b>", "</b> at line 1, column 2 closes no element"),
        ("one\n<p class='a", "the tag at line 2, column 1 is not closed"),
        ("<p>one</p", "the tag at line 1, column 7 is not closed"),
        ("one <!-- two", "the comment at line 1, column 5 is not closed"),
        ("<!-- two <b>", "the comment at line 1, column 1 is not closed"),
        ("<!two", "the comment at line 1, column 1 is not closed"),
        ("<script>a", "<script> at line 1, column 1 is not closed"),
    ],
)
def test_html_that_is_not_closed_is_refused_with_its_place(html: str, said: str) -> None:
    with pytest.raises(UnclosedMarkup) as refused:
        read_html(html)

    assert str(refused.value).startswith(said)


def test_a_paragraph_ends_the_one_before_it() -> None:
    assert read_html('<p translate="no">Slimseq<p>is small<p>and fast').texts == ["is small", "and fast"]
