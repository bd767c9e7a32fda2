"""Reads texts without targets. A teacher generates the targets, so that a student has more training data.

Forward translation of monolingual text, as in Kim & Rush 2016, https://arxiv.org/abs/1606.07947, and, for small
translators, Kim et al. 2019, https://aclanthology.org/D19-5632/.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slimseq.compression.errors import BadData
from slimseq.evaluation.dataset_files import DatasetUnavailable, Example, read_sources
from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task

# Prefix of the origin of unlabelled examples, so that a mixture can give them a weight of their own.
ORIGIN = "unlabelled"
# Number of words of a sentence. Shorter ones are captions, longer ones lists or tables.
SENTENCE_WORDS = range(4, 61)
SENTENCE = re.compile(r"[\"'\u201c\u2018(]?[A-Z0-9].*[.!?][\"'\u201d\u2019)]?")


def read_unlabelled(task: Task, files: Sequence[str]) -> list[Example]:
    """Reads sources, each once, with empty targets; the origin is `unlabelled`, or `unlabelled-ORIGIN` of a row."""
    found: dict[str, Example] = {}
    for name in files:
        before = len(found)
        try:
            for text, origin in read_sources(Path(name)):
                for part in _parts(task, text):
                    found.setdefault(part, Example(part, "", origin=f"{ORIGIN}-{origin}" if origin else ORIGIN))
        except DatasetUnavailable as error:
            raise BadData(str(error)) from error
        if len(found) == before:
            raise BadData(f"{name} holds no new text that can be learned from")
    return list(found.values())


def _parts(task: Task, text: str) -> Iterator[str]:
    if task is not Task.TRANSLATION:
        yield text
        return
    for sentence in sentences(text):
        if len(sentence.split()) in SENTENCE_WORDS and SENTENCE.fullmatch(sentence):
            yield sentence
