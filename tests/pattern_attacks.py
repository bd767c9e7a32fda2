"""Makes texts on which a regular expression may be slow. `test_patterns.py` measures the time that they take.

A search is slow where a repetition of the pattern fails at its end and is tried again from each of its characters. So
each text repeats a short unit many times, and ends with a character that the pattern does not match.

A pattern distinguishes few kinds of characters: `[0-9]+` knows digits and all others. One character of each kind is
enough. The units are all pairs of them, and what the repetitions of the pattern match.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

# A repetition of at most so many turns multiplies the time of a search by a constant at most.
MOST_REPEATED = 20

# Python's own parser of patterns, which has no public name. Its modules have these names from 3.11 on.
# A parsed pattern (`tree`) is a list of items, each an opcode and its argument.
_parser: Any = vars(re)["_parser"]
_compiler: Any = vars(re)["_compiler"]
_opcodes: Any = vars(re)["_constants"]
_REPETITIONS = (_opcodes.MAX_REPEAT, _opcodes.MIN_REPEAT, _opcodes.POSSESSIVE_REPEAT)
_CHARACTERS = (_opcodes.LITERAL, _opcodes.NOT_LITERAL, _opcodes.ANY, _opcodes.IN)


class Attack(NamedTuple):
    """A text: a start, a unit again and again, and an end."""

    start: str
    unit: str
    end: str

    def text(self, characters: int) -> str:
        return f"{self.start}{self.unit * (characters // len(self.unit))}{self.end}"


def alternatives(pattern: re.Pattern[Any]) -> list[tuple[re.Pattern[Any], Any]]:
    """Returns the alternatives of a pattern, each compiled and parsed. A search tries each of them."""
    tree = _parser.parse(pattern.pattern, pattern.flags)
    parts = list(_branches(tree))
    if len(parts) == 1:
        return [(pattern, tree)]
    found = []
    for part in parts:
        compiled = _compiler.compile(_parser.SubPattern(tree.state, list(part)), pattern.flags)
        found.append((compiled, part))
    return found


def _branches(tree: Any) -> Iterator[Any]:
    """Yields the alternatives `a` and `b` of `a|b`, also of one in a group, or the whole pattern if it has none."""
    while len(tree) == 1 and tree[0][0] is _opcodes.SUBPATTERN:
        tree = tree[0][1][3]
    if len(tree) == 1 and tree[0][0] is _opcodes.BRANCH:
        for branch in tree[0][1][1]:
            yield from _branches(branch)
    else:
        yield tree


def attacks(tree: Any, flags: int) -> Iterator[Attack]:
    """Yields texts on which a parsed pattern may be slow."""
    characters = _one_of_each_kind(tree, flags)
    items = list(_character_items(tree))
    # The character that fewest parts of the pattern match makes a repetition fail at its end.
    end = min(characters, key=lambda character: sum(_matches(item, character, flags) for item in items))
    repetitions = list(_repetitions(tree, "", characters, {}))
    units = [first if first == second else first + second for first in characters for second in characters]
    for before, turn in repetitions:
        units += [turn, before, before + turn]
    for unit in dict.fromkeys(filter(None, units)):
        yield Attack("", unit, end)
    starts = [before for before, _ in repetitions if before]
    turns = [turn for _, turn in repetitions if turn]
    for start in dict.fromkeys(starts):
        for unit in dict.fromkeys([*characters, *turns]):
            yield Attack(start, unit, end)


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


def _one_of_each_kind(tree: Any, flags: int) -> list[str]:
    """Returns characters of which each stands for all that a pattern does not distinguish from it."""
    items = list({repr(item): item for item in _character_items(tree)}.values())
    by_matches: dict[tuple[bool, ...], str] = {}
    for character in [*representatives(), *_named(items)]:
        matches = [_matches(item, character, flags) for item in items]
        # `\b` distinguishes letters and digits, and `$` a line feed.
        matches += [character.isalnum(), character == "\n"]
        by_matches.setdefault(tuple(matches), character)
    return list(by_matches.values())


def _named(items: Sequence[Any]) -> Iterator[str]:
    """Yields the characters that a pattern names, and their neighbours in Unicode."""
    for opcode, argument in items:
        for inner, value in argument if opcode is _opcodes.IN else [(opcode, argument)]:
            if inner is _opcodes.RANGE:
                codes = list(value)
            elif inner in _CHARACTERS and value is not None:
                codes = [value]
            else:
                continue
            neighbours = {each for code in codes for each in (code - 1, code, code + 1)}
            # Halves of surrogate pairs are in no text.
            yield from (chr(each) for each in sorted(neighbours) if 0 <= each < 0xD800 or 0xE000 <= each < 0x110000)


def _parts(item: Any) -> list[Any]:
    """Returns the patterns within an item, such as that which a repetition repeats."""
    opcode, argument = item
    if opcode in _REPETITIONS:
        return [argument[2]]
    if opcode is _opcodes.SUBPATTERN:
        return [argument[3]]
    if opcode is _opcodes.BRANCH:
        return list(argument[1])
    if opcode in (_opcodes.ASSERT, _opcodes.ASSERT_NOT):
        return [argument[1]]
    if opcode is _opcodes.GROUPREF_EXISTS:
        return [each for each in argument[1:] if each is not None]
    return [argument] if opcode is _opcodes.ATOMIC_GROUP else []


def _character_items(tree: Any) -> Iterator[Any]:
    """Yields the parts of a pattern that match one character, at any depth."""
    for item in tree:
        if item[0] in _CHARACTERS:
            yield item
        for part in _parts(item):
            yield from _character_items(part)


def _matches(item: Any, character: str, flags: int) -> bool:
    forms = {character, character.swapcase()} if flags & re.IGNORECASE else {character}
    return any(_matches_code(item, ord(form)) for form in forms if len(form) == 1)


def _matches_code(item: Any, code: int) -> bool:
    """Whether an item matches the character with this code point, upper and lower case told apart."""
    opcode, argument = item
    if opcode is _opcodes.IN:
        # The items in square brackets. `[^...]` has an item for the sign before the others.
        is_negated = argument[0][0] is _opcodes.NEGATE
        listed = argument[1:] if is_negated else argument
        is_listed = any(_matches_code(each, code) for each in listed)
        return is_listed is not is_negated
    if opcode is _opcodes.RANGE:
        first, last = argument
        return bool(first <= code <= last)
    if opcode is _opcodes.CATEGORY:
        return _is_in_category(str(argument), chr(code))
    if opcode is _opcodes.ANY:
        return code != ord("\n")
    return (code == argument) is (opcode is _opcodes.LITERAL)


def _is_in_category(name: str, character: str) -> bool:
    """Whether a character is of a category such as `CATEGORY_NOT_DIGIT`, which is `[^0-9]`."""
    if "DIGIT" in name:
        is_of_kind = character.isdecimal()
    elif "SPACE" in name:
        is_of_kind = character.isspace()
    else:
        is_of_kind = character.isalnum() or character == "_"
    return is_of_kind is not ("NOT" in name)


def _repetitions(
    tree: Any, before: str, characters: Sequence[str], groups: dict[int, str]
) -> Iterator[tuple[str, str]]:
    """Yields, for each part that may be repeated often, a text that leads to it and a text of one turn.

    `groups` holds the texts of numbered groups, for references to them.
    """
    for index, item in enumerate(tree):
        start = before + _example(tree[:index], characters, groups)
        if item[0] in _REPETITIONS and item[1][1] > MOST_REPEATED:
            yield start, _example(item[1][2], characters, groups)
        for part in _parts(item):
            yield from _repetitions(part, start, characters, groups)


def _example(tree: Iterable[Any], characters: Sequence[str], groups: dict[int, str]) -> str:
    """Returns a short text that a pattern matches, or nearly: what lies ahead or behind is left out."""
    text = ""
    for item in tree:
        opcode, argument = item
        if opcode in _CHARACTERS:
            text += next((each for each in characters if _matches(item, each, 0)), "")
        elif opcode is _opcodes.BRANCH:
            text += min((_example(each, characters, groups) for each in argument[1]), key=len)
        elif opcode in _REPETITIONS:
            text += _example(argument[2], characters, groups) * argument[0]
        elif opcode is _opcodes.SUBPATTERN:
            groups[argument[0]] = _example(argument[3], characters, groups)
            text += groups[argument[0]]
        elif opcode is _opcodes.GROUPREF:
            text += groups.get(argument, "")
        elif opcode is _opcodes.ATOMIC_GROUP:
            text += _example(argument, characters, groups)
    return text
