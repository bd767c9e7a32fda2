"""English sentences with names from more than thirty languages, whose translation must have the names as they are.

Templates and names are in `names.jsonl`, in two parts with nothing in common: `dev` was looked at while the protection
of names was written, `test` was not.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Literal, get_args

Split = Literal["dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
# Where a template has a name.
_PLACE = "{}"
_POSSESSIVE = "'s"


@dataclass(frozen=True)
class NameSentence:
    """A sentence with names. Only the words of names with letters beyond ASCII are looked for in its translation."""

    text: str
    language: str
    names: tuple[str, ...]

    def lost(self, output: str) -> list[str]:
        """Returns the words of the names that are not in a translation as whole words, as often as in the sentence."""
        words = [word for name in self.names for word in name.split() if not word.isascii()]
        found = {word: len(re.findall(self._pattern(word), output)) for word in words}
        return [word for word, count in Counter(words).items() if found[word] < count]

    def _pattern(self, word: str) -> str:
        # An English possessive may become the German genitive, which ends in a plain s: Müllers Auto.
        genitive = "s?" if f"{word}{_POSSESSIVE}" in self.text else ""
        return rf"(?<!\w){re.escape(word)}{genitive}(?!\w)"


def name_sentences(split: Split, count: int, seed: int) -> list[NameSentence]:
    """Returns sentences of one part. The languages take turns, and so do the templates and the names of a language."""
    random = Random(seed)
    path = Path(__file__).with_name("names.jsonl")
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    own = [entry for entry in entries if entry["split"] == split]
    templates = _in_turn([entry["template"] for entry in own if "template" in entry], random)
    names = {entry["language"]: _in_turn(entry["names"], random) for entry in own if "names" in entry}
    languages = _in_turn([*names], random)
    found = []
    for _ in range(count):
        template, language = next(templates), next(languages)
        chosen = [next(names[language]) for _ in range(template.count(_PLACE))]
        if template.isupper():
            chosen = [name.upper() for name in chosen]
        found.append(NameSentence(template.format(*chosen), language, tuple(chosen)))
    return found


def _in_turn(entries: list[str], random: Random) -> Iterator[str]:
    """Yields all entries in a random order, again and again."""
    return cycle(random.sample(entries, len(entries)))
