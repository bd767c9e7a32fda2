"""Time is linear in any text, in every function that a text of a user reaches."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slimseq.inference.alphabet import Alphabet
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.errors import MarkupTooComplex, UnclosedMarkup
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.misspellings import lost_names, misspelled_names
from slimseq.inference.text.names import find_names, join_neighbours
from slimseq.inference.text.passes import NAMES, SentencePasses
from slimseq.inference.text.sentences import sentences, split_sentences
from slimseq.inference.text.spans import has_unprotected_words
from slimseq.inference.text.warnings import Compared, output_warnings
from slimseq.models_store.manifest import Task
from tests.cpu_time import cpu_seconds
from tests.inference.small_tokenizers import with_unknown
from tests.inference.text.formats.translators import rewritten, upper

# Of the shorter of two texts. Below, the windows of a search are not full.
CHARACTERS = 8000
# What the garbage and the clock add to a measurement.
NOISE_SECONDS = 0.03
# ruff: noqa: RUF001
PIECES = [
    *("a", "A", "1", "word ", "12 ", "1,", "1.", "£5 ", " ", "\t", "\n", "\n\n", *".,;:!?…。-–—_*~#%&@^|=+$'\"`“”‘’«»"),
    *("(", ")", "[", "]", "{", "}", "<", ">", "/", "\\", "<b>", "</b>", "<!--", "-->", "<code>", "![", "](a)"),
    *("a@b.de ", "http://", "http://a.de/x", "www.", "&amp;", "e.g. ", "No. ", "approx. ", "Dr. ", "3 pm ", "May 3, "),
    *("+49 ", "☺", "\u00ad", "\u200b", "\u2060", "é", "中", "\u2009", "\u00a0", "½", "x.py", "2019-01-01", "5′", "A4-"),
    *("> ", "- ", "COVID-19 ", "a.b ", "ha", "1\u200b2 3 ", "cheap, ", "ü", "Müller ", "Łódź-", "å'"),
    *("u\u0308", "no. 1 ", "Montag", "on Thursday.61 "),
]  # fmt: skip


def translate(text: str) -> None:
    """Translates with a model that loses all numbers and names, so that sentences are parted down to their spans."""

    def output(sentence: str) -> TextOutput:
        return TextOutput(
            "".join(each for each in sentence if not each.isdigit()).replace(NAMES[0], ""), "eos", 5, 3, False
        )

    for segment in split_sentences(text, "en", is_protected=True).segments:
        if not has_unprotected_words(segment.text, segment.spans):
            continue
        passes = SentencePasses(segment.text, segment.spans, "en", "de")
        while passes.inputs:
            passes.receive([output(str(each)) for each in passes.inputs])


def rewrite_html(text: str) -> None:
    with contextlib.suppress(UnclosedMarkup):
        rewritten(read_html(text), upper)


def rewrite_markdown(text: str) -> None:
    with contextlib.suppress(MarkupTooComplex):
        rewritten(read_markdown(text), upper)


def check_translation(text: str) -> None:
    output_warnings(Task.TRANSLATION, ("en", "de"), text, [Compared(text, text[::-1])])


def check_summary(text: str) -> None:
    output_warnings(Task.SUMMARIZATION, ("en",), text, [Compared(text, text[::-1])])


def check_copied_summary(text: str) -> None:
    """Checks a summary that ends within a word of its source, after many numbers, months and equal words."""
    output_warnings(Task.SUMMARIZATION, ("en",), text, [Compared(f"{text}xyz", text)])
    output_warnings(Task.SUMMARIZATION, ("de",), text, [Compared(text, f"In May on Monday. {text}")])


def check_names(text: str) -> None:
    fast = with_unknown("é")
    names = join_neighbours(text, find_names(text, Alphabet(fast, fast), "en", "pt"))
    lost_names(names, text[::-1])
    misspelled_names(text, text.replace("ü", "'").replace("ł", "x"))


def check_lost_numbers(text: str) -> None:
    output_warnings(Task.TRANSLATION, ("en", "de"), text, [Compared(text, "")])


@pytest.mark.parametrize(
    "work",
    [
        *(sentences, translate, rewrite_html, rewrite_markdown),
        *(check_translation, check_summary, check_copied_summary, check_lost_numbers, check_names),
    ],
)
@settings(max_examples=25)
@given(
    start=st.sampled_from(["", "It is http://a.de/ 17 x "]),
    pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=4),
)
@example(start="See http://a.com/", pieces=["!"])
@example(start="It costs £12 at http://a.com/", pieces=["."])
@example(start="", pieces=["-!"])
@example(start="", pieces=["☺!"])
@example(start="", pieces=["“"])
@example(start="", pieces=["a\u00ad"])
@example(start="", pieces=["1\u200b2 3 "])
def test_twice_the_text_takes_about_twice_as_long(work: Callable[[str], object], start: str, pieces: list[str]) -> None:
    unit = "".join(pieces)

    def seconds(characters: int, below: float = 0.0) -> float:
        text = f"{start}{unit * (characters // len(unit))}x"
        return cpu_seconds(lambda: work(text), below)

    def is_linear() -> bool:
        bound = 2.6 * seconds(CHARACTERS) + NOISE_SECONDS
        return seconds(2 * CHARACTERS, bound) < bound

    # Other work on the same core may come between the two measurements.
    assert any(is_linear() for _ in range(3))
