"""The texts of HTML are found and replaced, and its tags stay byte for byte."""

import pytest

from slimseq.inference.text.errors import UnclosedMarkup
from slimseq.inference.text.formats.html_document import read_html
from tests.inference.text.formats.translators import rewritten, upper
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def shouted(html: str) -> str:
    return rewritten(read_html(html), upper).text


@pytest.mark.parametrize(("html", "filled"), TABLES["texts_are_replaced_and_tags_are_kept"])
def test_texts_are_replaced_and_tags_are_kept(html: str, filled: str) -> None:
    assert shouted(html) == filled


@pytest.mark.parametrize("html", TABLES["what_is_no_language_is_kept_as_it_is_written"])
def test_what_is_no_language_is_kept_as_it_is_written(html: str) -> None:
    assert read_html(html).texts == []
    assert shouted(html) == html


def test_translation_is_allowed_again_inside_of_what_is_not_translated() -> None:
    assert shouted('<p translate="no">Acme <i translate="yes">bank</i> co</p>') == (
        '<p translate="no">Acme <i translate="yes">BANK</i> co</p>'
    )


def test_a_line_break_is_a_space_except_in_preformatted_text() -> None:
    assert read_html("<p>one\n   two</p><pre>one\n   two</pre>").texts == ["one two", "one\n   two"]


@pytest.mark.parametrize(("html", "said"), TABLES["html_that_is_not_closed_is_refused_with_its_place"])
def test_html_that_is_not_closed_is_refused_with_its_place(html: str, said: str) -> None:
    with pytest.raises(UnclosedMarkup) as refused:
        read_html(html)

    assert str(refused.value).startswith(said)


def test_a_paragraph_ends_the_one_before_it() -> None:
    assert read_html('<p translate="no">Slimseq<p>is small<p>and fast').texts == ["is small", "and fast"]
