import pytest

from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.passages import MAX_CHARACTERS, MAX_ELEMENTS
from tests.inference.text.formats.translators import output, rewritten
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def filled(html: str, translation: str, *found: str) -> str:
    return read_html(html).write([output(translation, *found)]).text


@pytest.mark.parametrize(
    ("html", "texts"),
    [
        ("The <b>red</b> house", ["The red house"]),
        ("<p>The\n <b>very <i>big</i> dog</b> sleeps.</p>", ["The very big dog sleeps."]),
        ("One <br> <b>two</b> three", ["One", "two three"]),
        ("<b> Hello </b>you", ["Hello you"]),
        ("See <a href=/>the <i></i>page</a>.", ["See the page."]),
        # Nothing is beside an element, so that texts have nothing to do with each other.
        ("<b>Title</b>", ["Title"]),
        ("<a>Home</a> <a>News</a> | <a>Contact</a>", ["Home", "News", "Contact"]),
        # What has another line break, and what is not closed here parts texts.
        ("<pre>one <b>two</b></pre>", ["one", "two"]),
        ("<b>one <p>two</p> three</b>", ["one", "two", "three"]),
        ("a " + "<i>b</i> c " * (MAX_ELEMENTS + 1), ["a", *["b", "c"] * (MAX_ELEMENTS + 1)]),
        ("a <b>b</b> " + "c" * MAX_CHARACTERS, ["a", "b", "c" * MAX_CHARACTERS]),
    ],
)
def test_a_sentence_is_translated_whole(html: str, texts: list[str]) -> None:
    assert read_html(html).texts == texts


@pytest.mark.parametrize(
    ("html", "translations", "said"), TABLES["tags_come_back_around_the_words_that_they_belonged_to"]
)
def test_tags_come_back_around_the_words_that_they_belonged_to(html: str, translations: list[str], said: str) -> None:
    assert filled(html, *translations) == said


@pytest.mark.parametrize(("html", "texts"), TABLES["atoms_are_characters_of_their_sentence"])
def test_atoms_are_characters_of_their_sentence(html: str, texts: list[str]) -> None:
    assert read_html(html).texts == texts


@pytest.mark.parametrize(("html", "translations", "said"), TABLES["an_atom_comes_back_once_and_stays_in_its_element"])
def test_an_atom_comes_back_once_and_stays_in_its_element(html: str, translations: list[str], said: str) -> None:
    assert filled(html, *translations) == said


@pytest.mark.parametrize("html", ["Press \ue000 now", "<p>Press \ue003 to <b>go</b></p>", "<b>\ue00f x</b> | y"])
def test_a_character_for_private_use_is_the_users_own(html: str) -> None:
    assert rewritten(read_html(html), str).text == html
