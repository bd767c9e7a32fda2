"""Texts that may take a regular expression long.

A pattern tells few characters apart: `[0-9]+` the digits from all others. One of each kind is enough. What makes a
search slow is a repetition that fails at its end and is tried again from each of its characters. So the texts repeat
each pair of kinds, also after what leads to a repetition of the pattern, and end with what it does not take.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

# Repetitions that end sooner are part of a time that is linear.
MOST_REPEATED = 20

# How Python reads a pattern. The modules have these names from 3.11 on.
_parser: Any = vars(re)["_parser"]
_compiler: Any = vars(re)["_compiler"]
_kinds: Any = vars(re)["_constants"]
_REPETITIONS = (_kinds.MAX_REPEAT, _kinds.MIN_REPEAT, _kinds.POSSESSIVE_REPEAT)
_CHARACTERS = (_kinds.LITERAL, _kinds.NOT_LITERAL, _kinds.ANY, _kinds.IN)


class Attack(NamedTuple):
    """A text: a start, a unit again and again, and an end."""

    start: str
    unit: str
    end: str

    def text(self, characters: int) -> str:
        return f"{self.start}{self.unit * (characters // len(self.unit))}{self.end}"


def alternatives(pattern: re.Pattern[Any]) -> list[tuple[re.Pattern[Any], Any]]:
    """Returns the alternatives of a pattern, each as a pattern and as Python reads it. A search tries each of them."""
    tree = _parser.parse(pattern.pattern, pattern.flags)
    parts = list(_branches(tree))
    if len(parts) == 1:
        return [(pattern, tree)]
    return [(_compiler.compile(_parser.SubPattern(tree.state, list(each)), pattern.flags), each) for each in parts]


def _branches(tree: Any) -> Iterator[Any]:
    while len(tree) == 1 and tree[0][0] is _kinds.SUBPATTERN:
        tree = tree[0][1][3]
    if len(tree) == 1 and tree[0][0] is _kinds.BRANCH:
        for branch in tree[0][1][1]:
            yield from _branches(branch)
    else:
        yield tree


def attacks(tree: Any, flags: int) -> Iterator[Attack]:
    """Yields texts that may take a pattern long, given as Python reads it."""
    kinds = _kinds_of_characters(tree, flags)
    least = min(kinds, key=lambda kind: sum(_takes(item, kind, flags) for item in _items(tree)))
    repeated = list(_repetitions(tree, "", kinds, {}))
    units = [first if first == second else first + second for first in kinds for second in kinds]
    turns = [each for before, turn in repeated for each in (turn, before, before + turn)]
    for unit in dict.fromkeys([*units, *filter(None, turns)]):
        yield Attack("", unit, least)
    for before in dict.fromkeys(before for before, _ in repeated if before):
        for unit in dict.fromkeys([*kinds, *(turn for _, turn in repeated if turn)]):
            yield Attack(before, unit, least)


@cache
def representatives() -> list[str]:
    """Returns a character of each category of Unicode, all white space, and ASCII."""
    by_category: dict[str, str] = {}
    for character in map(chr, range(0x110000)):
        by_category.setdefault(unicodedata.category(character), character)
    # Halves of surrogate pairs are in no text.
    del by_category["Cs"]
    spaces = [character for character in map(chr, range(0x3001)) if character.isspace()]
    return list(dict.fromkeys([*by_category.values(), *spaces, *map(chr, range(128)), *"é中٣½☺\u200b"]))


def _kinds_of_characters(tree: Any, flags: int) -> list[str]:
    """Returns one of all characters that a pattern treats alike."""
    items = list({repr(item): item for item in _items(tree)}.values())
    found: dict[tuple[bool, ...], str] = {}
    for character in [*representatives(), *_named(items)]:
        treated = [_takes(item, character, flags) for item in items]
        # What `\b` tells apart, and `$`.
        treated += [character.isalnum(), character == "\n"]
        found.setdefault(tuple(treated), character)
    return list(found.values())


def _named(items: Sequence[Any]) -> Iterator[str]:
    """Yields the characters that a pattern names, and those beside them."""
    for kind, argument in items:
        for inner, value in argument if kind is _kinds.IN else [(kind, argument)]:
            places = value if inner is _kinds.RANGE else [value] if inner in _CHARACTERS and value is not None else []
            beside = {each for place in places for each in (place - 1, place, place + 1)}
            yield from (chr(each) for each in sorted(beside) if 0 <= each < 0xD800 or 0xE000 <= each < 0x110000)


def _parts(item: Any) -> list[Any]:
    """Returns the patterns within a part of a pattern."""
    kind, argument = item
    if kind in _REPETITIONS:
        return [argument[2]]
    if kind is _kinds.SUBPATTERN:
        return [argument[3]]
    if kind is _kinds.BRANCH:
        return list(argument[1])
    if kind in (_kinds.ASSERT, _kinds.ASSERT_NOT):
        return [argument[1]]
    if kind is _kinds.GROUPREF_EXISTS:
        return [each for each in argument[1:] if each is not None]
    return [argument] if kind is _kinds.ATOMIC_GROUP else []


def _items(tree: Any) -> Iterator[Any]:
    """Yields the parts of a pattern that take one character."""
    for item in tree:
        if item[0] in _CHARACTERS:
            yield item
        for part in _parts(item):
            yield from _items(part)


def _takes(item: Any, character: str, flags: int) -> bool:
    forms = {character, character.swapcase()} if flags & re.IGNORECASE else {character}
    return any(_takes_exactly(item, ord(form)) for form in forms if len(form) == 1)


def _takes_exactly(item: Any, code: int) -> bool:
    kind, argument = item
    if kind is _kinds.IN:
        is_negated = argument[0][0] is _kinds.NEGATE
        return any(_takes_exactly(each, code) for each in argument[is_negated:]) is not is_negated
    if kind is _kinds.RANGE:
        return bool(argument[0] <= code <= argument[1])
    if kind is _kinds.CATEGORY:
        name, character = str(argument), chr(code)
        is_word = character.isalnum() or character == "_"
        is_in = character.isdecimal() if "DIGIT" in name else character.isspace() if "SPACE" in name else is_word
        return is_in is not ("NOT" in name)
    if kind is _kinds.ANY:
        return code != ord("\n")
    return (code == argument) is (kind is _kinds.LITERAL)


def _repetitions(tree: Any, before: str, kinds: Sequence[str], groups: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yields, for each part that may be repeated often, a text before it and one turn of it."""
    for index, item in enumerate(tree):
        start = before + _example(tree[:index], kinds, groups)
        if item[0] in _REPETITIONS and item[1][1] > MOST_REPEATED:
            yield start, _example(item[1][2], kinds, groups)
        for part in _parts(item):
            yield from _repetitions(part, start, kinds, groups)


def _example(tree: Iterable[Any], kinds: Sequence[str], groups: dict[int, str]) -> str:
    """Returns a short text that a pattern takes, more or less."""
    text = ""
    for item in tree:
        kind, argument = item
        if kind in _CHARACTERS:
            text += next((each for each in kinds if _takes(item, each, 0)), "")
        elif kind is _kinds.BRANCH:
            text += min((_example(each, kinds, groups) for each in argument[1]), key=len)
        elif kind in _REPETITIONS:
            text += _example(argument[2], kinds, groups) * argument[0]
        elif kind is _kinds.SUBPATTERN:
            groups[argument[0]] = _example(argument[3], kinds, groups)
            text += groups[argument[0]]
        elif kind is _kinds.GROUPREF:
            text += groups.get(argument, "")
        elif kind is _kinds.ATOMIC_GROUP:
            text += _example(argument, kinds, groups)
    return text
