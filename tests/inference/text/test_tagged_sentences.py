"""Inline tags are around the right words: 200 sentences of our own, whose words the embedded translators know.

A line of `tagged_sentences.txt` has a sentence with one to three tags and, for each tag, what its words may be in
German, in any inflection. Articles do not count; one word more or less is wrong.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from slimseq.inference.generator import open_generator
from slimseq.inference.load import Model
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

LINES = (Path(__file__).parent / "tagged_sentences.txt").read_text(encoding="utf-8").splitlines()
ARTICLES = {"der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "eines"}
# Letters of an inflection.
MAX_ENDING = 2
# The share of tags that may be around other words. The embedded translators are below it.
MAX_WRONG_SHARE = 0.06


def words(html: str) -> list[str]:
    found = re.findall(r"\w+", re.sub("<[^>]+>", " ", html).lower())
    return [word for word in found if word not in ARTICLES]


def contents(html: str) -> dict[str, str]:
    """Returns what is in each element, by its tag."""
    found = {}
    for tag in re.findall(r"<(\w+)", html):
        _before, content, *_after = re.split(f"<{tag}[^>]*>|</{tag}>", html)
        found[tag] = content
    return found


def is_one_of(content: str, wanted: Sequence[str]) -> bool:
    """Whether a content has the words of one of the wanted phrases, in any inflection."""
    return any(is_phrase(words(content), words(phrase)) for phrase in wanted)


def is_phrase(found: Sequence[str], phrase: Sequence[str]) -> bool:
    return len(found) == len(phrase) and all(map(is_inflected, found, phrase))


def is_inflected(word: str, stem: str) -> bool:
    """Whether a word is a stem with a short ending."""
    return word.startswith(stem) and len(word) - len(stem) <= MAX_ENDING


@pytest.mark.parametrize("variant", ["quantized", "compact"])
def test_inline_tags_are_around_the_right_words(embedded: Store, variant: str) -> None:
    sentences = [(source, wanted) for source, *wanted in (line.split(" | ") for line in LINES)]
    with open_generator(embedded, Task.TRANSLATION, variant) as generator:
        outputs = Model(generator).generate([source for source, _ in sentences], format="html", warnings=False)

    wrong, empty, tags = [], [], 0
    for (source, wanted), output in zip(sentences, outputs, strict=True):
        placed = contents(output.text)
        tags_of_source = list(contents(source))
        assert sorted(placed) == sorted(tags_of_source), output.text
        tags += len(wanted)
        empty += [output.text for content in placed.values() if not content]
        for tag, phrases in zip(tags_of_source, wanted, strict=True):
            if not is_one_of(placed[tag], phrases.split(", ")):
                wrong.append(output.text)

    assert len(sentences) == 200
    assert not empty
    assert len(wrong) <= MAX_WRONG_SHARE * tags, wrong


def test_a_streamed_text_has_its_tags_where_the_whole_one_has_them(embedded: Store) -> None:
    text = "<p>Where did you <b>buy</b> this shirt?</p><p>My aunt has <code>x</code> and a <i>small</i> shop.</p>"
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        model = Model(generator)
        searched, _ = model.generate([text, "<b>Yes</b>, please."], format="html")
        [greedy] = model.generate([text], format="html", num_beams=1)
        streamed = ["".join(model.stream(text, format="html", num_beams=beams)) for beams in (4, 1)]

    assert streamed == [searched.text, greedy.text]
    assert "<b>gekauft</b>" in searched.text
    assert "<i>kleine" in searched.text
