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
MAX_ENDING = 2


def words(html: str) -> list[str]:
    found = re.findall(r"\w+", re.sub("<[^>]+>", " ", html).lower())
    return [word for word in found if word not in ARTICLES]


def contents(html: str) -> dict[str, str]:
    """What is in each element, by its tag."""
    return {tag: re.split(f"<{tag}[^>]*>|</{tag}>", html)[1] for tag in re.findall(r"<(\w+)", html)}


def is_one_of(content: str, wanted: Sequence[str]) -> bool:
    found = words(content)
    return any(len(found) == len(each) and all(map(is_inflected, found, each)) for each in map(words, wanted))


def is_inflected(word: str, stem: str) -> bool:
    return word.startswith(stem) and len(word) - len(stem) <= MAX_ENDING


@pytest.mark.parametrize("variant", ["quantized", "compact"])
def test_inline_tags_are_around_the_right_words(embedded: Store, variant: str) -> None:
    sentences = [(source, wanted) for source, *wanted in (line.split(" | ") for line in LINES)]
    with open_generator(embedded, Task.TRANSLATION, variant) as generator:
        outputs = Model(generator).generate([source for source, _ in sentences], format="html", warnings=False)

    wrong, empty, tags = [], [], 0
    for (source, wanted), output in zip(sentences, outputs, strict=True):
        placed = contents(output.text)
        assert list(contents(source)) == sorted(placed, key=list(contents(source)).index), output.text
        tags += len(wanted)
        empty += [output.text for content in placed.values() if not content]
        wrong += [
            output.text
            for tag, own in zip(contents(source), wanted, strict=True)
            if not is_one_of(placed[tag], own.split(", "))
        ]

    assert not empty
    assert len(sentences) == 200 and len(wrong) <= 0.06 * tags, wrong


def test_a_streamed_text_has_its_tags_where_the_whole_one_has_them(embedded: Store) -> None:
    text = "<p>Where did you <b>buy</b> this shirt?</p><p>My aunt has <code>x</code> and a <i>small</i> shop.</p>"
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        model = Model(generator)
        [searched] = model.generate([text, "<b>Yes</b>, please."], format="html")[:1]
        [greedy] = model.generate([text], format="html", num_beams=1)
        streamed = ["".join(model.stream(text, format="html", num_beams=beams)) for beams in (4, 1)]

    assert streamed == [searched.text, greedy.text]
    assert "<b>gekauft</b>" in searched.text and "<i>kleine" in searched.text
