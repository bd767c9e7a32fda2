"""Writes the sentences of phrase files, for training: every template with values in its slots.

Usage: python models_store/training/expand.py OUT --origin NAME [--most N] [--without FILE...] FILE...

A line of a phrase file is a comment (`# ...`), a slot with its values (`name: first | second`), or a template, a
sentence that may have slots (`Happy birthday, {name}!`). A slot holds for the lines below it, until it is defined anew.
In a file of pairs, named `NAME.pairs.txt`, sentences and values have their translation beside them, after ` = `.
OUT gets JSON lines with `source`, `origin` and, for pairs, `target`. README.md says what they are for.
"""

import argparse
import json
import re
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from random import Random

SLOT = re.compile(r"\{(\w+)\}")
DEFINITION = re.compile(r"([a-z_][a-z0-9_]*): (.*\|.*)")
PAIRS = ".pairs.txt"
# A sentence alone, or with its translation.
Sides = tuple[str, ...]


def expand(lines: list[str], most: int, sides: int = 1) -> Iterator[Sides]:
    """Yields the sentences of a phrase file: of each template at most `most`, chosen at random with its line as seed.

    Args:
        lines: of the file.
        most: maximum number of sentences of one template.
        sides: 1, or 2 for a file of pairs.

    Raises:
        ValueError: a line has another number of sides, or a template a slot that no line above it defines.
    """
    values: dict[str, list[Sides]] = {}
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        if definition := DEFINITION.fullmatch(line):
            values[definition[1]] = [_split(value, sides) for value in definition[2].split("|")]
            continue
        template = _split(line, sides)
        slots = list(dict.fromkeys(SLOT.findall(line)))
        if missing := [slot for slot in slots if slot not in values]:
            raise ValueError(f"no values for {missing[0]!r} above {line!r}")
        yield from _filled(template, {slot: values[slot] for slot in slots}, most)


def _split(text: str, sides: int) -> Sides:
    parts = tuple(part.strip() for part in text.split(" = ")) if sides > 1 else (text.strip(),)
    if len(parts) != sides or not all(parts):
        raise ValueError(f"not a sentence and its translation: {text!r}")
    return parts


def _filled(template: Sides, values: dict[str, list[Sides]], most: int) -> Iterator[Sides]:
    count = prod(len(choices) for choices in values.values())
    chosen = set(Random(template[0]).sample(range(count), min(count, most)))
    for number, combination in enumerate(product(*values.values())):
        if number in chosen:
            filling = dict(zip(values, combination, strict=True))
            texts = [_side(text, filling, side) for side, text in enumerate(template)]
            yield tuple(text[0].upper() + text[1:] for text in texts)


def _side(text: str, filling: dict[str, Sides], side: int) -> str:
    """Returns one side of a template with its values in its slots."""
    return text.format_map({slot: value[side] for slot, value in filling.items()})


def words_of(sentence: str) -> str:
    """Returns the words of a sentence, by which it is compared with others: lower case, without punctuation."""
    return " ".join(re.findall(r"\w+", sentence.casefold()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--origin", required=True, help="origin of the sentences, by which a recipe weights them")
    parser.add_argument("--most", type=int, default=24, help="sentences of one template (default: 24)")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="files of sentences to leave out")
    arguments = parser.parse_args()
    seen = {words_of(line) for file in arguments.without for line in file.read_text(encoding="utf-8").splitlines()}
    with arguments.out.open("w", encoding="utf-8") as out:
        for file in arguments.files:
            sides = ("source", "target") if file.name.endswith(PAIRS) else ("source",)
            for sentence in expand(file.read_text(encoding="utf-8").splitlines(), arguments.most, len(sides)):
                words = words_of(sentence[0])
                if words not in seen:
                    seen.add(words)
                    row = dict(zip(sides, sentence, strict=True)) | {"origin": arguments.origin}
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
