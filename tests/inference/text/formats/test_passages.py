import pytest

from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.passages import MAX_CHARACTERS, MAX_SPANS
from tests.inference.text.formats.translators import output, rewritten


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
        ("a " + "<i>b</i> c " * (MAX_SPANS + 1), ["a", *["b", "c"] * (MAX_SPANS + 1)]),
        ("a <b>b</b> " + "c" * MAX_CHARACTERS, ["a", "b", "c" * MAX_CHARACTERS]),
    ],
)
def test_a_sentence_is_translated_whole(html: str, texts: list[str]) -> None:
    assert read_html(html).texts == texts


@pytest.mark.parametrize(
    ("html", "translations", "said"),
    [
        # The same words.
        ("In <b>1920</b>, he left.", ["Er ging 1920.", "1920"], "Er ging <b>1920</b>."),
        # What belongs to them.
        (
            "<a>Berlin</a> is the capital of <a>Germany</a>.",
            ["Die Hauptstadt Deutschlands ist Berlin.", "Berlin", "Deutschlands"],
            "Die Hauptstadt <a>Deutschlands</a> ist <a>Berlin</a>.",
        ),
        ("It is open <i>every day</i>.", ["Jeden Tag ist es auf.", "Jeden Tag"], "<i>Jeden Tag</i> ist es auf."),
        # Else the same place.
        ("The <b>red</b> house is old.", ["Das rote Haus ist alt.", "Redig"], "Das <b>rote</b> Haus ist alt."),
        # An element in another one stays there.
        (
            "The <b>very <i>big</i> dog</b> sleeps.",
            ["Es schläft der sehr große Hund.", "sehr große Hund", "große"],
            "Es schläft der <b>sehr <i>große</i> Hund</b>.",
        ),
        ("<b>Warning:</b> it is hot.", ["Warnung: es ist heiß.", "Warnung"], "<b>Warnung:</b> es ist heiß."),
        ("<p>a <b>c</b> &amp; d</p>\n", ["A & <D>", "D"], "<p>A &amp; &lt;<b>D</b>&gt;</p>\n"),
        # No tag goes into what is one word for those who read it.
        ("big <b>${HOME}.</b>", ["Großes ${HOME}.", "${HOME}."], "Großes <b>${HOME}.</b>"),
        ("<!-- a --> (%s) <b>now</b>", ["(%s)", "jetzt"], "<!-- a -->(<b>%s</b>)"),
        ("It is <b>here</b>: http://a.de", ["http://a.de", "hier"], "<b>http://a.de</b>"),
        # Each has a word, or a part of one.
        ("The <b>price</b> of <i>oil</i> now", ["Der Ölpreis", "Ölpreis", "Ölpreis"], "<i>Der</i> <b>Ölpreis</b>"),
        ("The <b>price</b> of <i>oil</i> now", ["Ölpreis", "Ölpreis", "Ölpreis"], "<b>Ölp</b><i>reis</i>"),
        (
            "The <b>old price</b> of <i>oil</i>",
            ["Alter Ölpreis", "Alter Ölpreis", "Ölp"],
            "<b>Alter</b> <i>Ölpreis</i>",
        ),
    ],
)
def test_tags_come_back_around_the_words_that_they_belonged_to(html: str, translations: list[str], said: str) -> None:
    assert filled(html, *translations) == said


@pytest.mark.parametrize(
    ("html", "texts"),
    [
        ("Type <code>ls <b>-l</b></code> now", ["Type \ue000 now"]),
        ("<p>Press <kbd>A</kbd> and <img src=b.png> to go</p>", ["Press \ue000 and \ue001 to go"]),
        ('Say <b translate="no">Ahoy</b> loudly', ["Say \ue000 loudly"]),
        ("The <a><img></a> and <b>the <code>x</code></b>", ["The \ue000 and the \ue001"]),
        # A break within a sentence is a space, one after a sentence parts texts.
        ("The red<br>house<br/>Is old.<br>it is", ["The red house", "Is old.", "it is"]),
        ("<!-- a --> The <!-- b --> house", ["The house"]),
        ("<code>x</code> <img>", []),
        # The text has such a character of its own.
        ("Type <code>ls</code> \ue003 now", ["Type", "\ue003 now"]),
    ],
)
def test_atoms_are_characters_of_their_sentence(html: str, texts: list[str]) -> None:
    assert read_html(html).texts == texts


@pytest.mark.parametrize(
    ("html", "translations", "said"),
    [
        ("Type <code>ls</code> now", ["Nun \ue000 tippen"], "Nun <code>ls</code> tippen"),
        ("Type <code>ls</code> now", ["Nun tippen"], "Nun <code>ls</code> tippen"),
        ("The <a><img></a> is red", ["Rot ist das \ue000"], "Rot ist das <a><img></a>"),
        (
            "<b>Use <code>x</code></b> or go",
            ["Geh oder nimm \ue000", "nimm \ue000"],
            "Geh oder <b>nimm <code>x</code></b>",
        ),
        ("<i>x <img></i> or y", ["y \ue000 oder x", "x"], "y <i><img> oder x</i>"),
        ("a <b>c</b>, <code>d</code>", ["\ue000 \ue000 \ue005 C & a", "C"], "<code>d</code>   <b>C</b> &amp; a"),
    ],
)
def test_an_atom_comes_back_once_and_stays_in_its_element(html: str, translations: list[str], said: str) -> None:
    assert filled(html, *translations) == said


@pytest.mark.parametrize("html", ["Press \ue000 now", "<p>Press \ue003 to <b>go</b></p>", "<b>\ue00f x</b> | y"])
def test_a_character_for_private_use_is_the_users_own(html: str) -> None:
    assert rewritten(read_html(html), str).text == html
