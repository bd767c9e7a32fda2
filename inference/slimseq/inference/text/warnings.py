"""All checks of one output: of a translation sentence by sentence, of a summary as a whole.

No warning is better than a wrong one: each threshold is where nearly no reference of the development data gets a
warning (docs/decisions/026). Time is linear in the texts, without a long call that would hold the interpreter, so that
long texts are checked on another thread.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from typing import Literal, NamedTuple, get_args

from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.added_numbers import added_numbers
from slimseq.inference.text.calendar_names import added_calendar_names
from slimseq.inference.text.endings import unfinished_end
from slimseq.inference.text.language import count_characters, foreign_language, language_name, language_pair
from slimseq.inference.text.notation import changed_measures, find_notation
from slimseq.inference.text.numbers import lost_numbers
from slimseq.models_store.manifest import Task

# `language`: the source is not in the language that the model reads. `length`: the output is much shorter or longer
# than its source. `repetition`: the output repeats itself. `truncated`: the source or the output was cut at a limit.
# `unfinished`: the output ends in mid-sentence. `lost`: something of the source that must be kept, such as a number, is
# not in the translation, or the output has misspelled a name. `number`: a number of the summary is not in its source.
# `date`: a month or weekday of the summary is not in its source. `untranslated`: the model repeated the source, or a
# part of a document stayed as it was, to keep the structure.
WarningKind = Literal[
    "language", "length", "repetition", "truncated", "unfinished", "lost", "number", "date", "untranslated"
]
WARNING_KINDS: tuple[WarningKind, ...] = get_args(WarningKind)
# Those for which an output is tried again.
REPAIRABLE: frozenset[WarningKind] = frozenset({"length", "repetition", "lost"})

# Bounds of a translation's characters: a share of those of its source, and as many more or fewer as short sentences
# have by chance. At least 99.95 % of the references of the development data are within.
SHORTEST, LONGEST, BY_CHANCE = 0.6, 2.0, 20
# What a detail names at most, and what it quotes of each.
NAMED, QUOTED_CHARACTERS = 5, 40
# Shorter words may be parts of names, such as "van der".
MIN_LETTERS_OF_WORD = 4
# They count in ten thousands: 32億 is 3.2 billion.
WITHOUT_NUMBERS = frozenset({"zh", "ja", "ko"})

# A word, or a character of a script without spaces between words.
_WORD = re.compile("[\u2e80-\u9fff]|[^\\s\u2e80-\u9fff]+")
# A loop has at most so many words. Longer ones are rare, and each length costs a pass.
MAX_WORDS = 12
# More of a text is not searched for loops. The search is linear, and takes 0.2 s for so many.
MAX_SEARCHED = 100_000
# How often one word, and how often several, are in a row in a loop, and the characters of it. "Very, very, very good"
# is none, nor is "la la la la".
MIN_REPEATS_OF_ONE, MIN_REPEATS, MIN_CHARACTERS = 4, 2, 10
# "On and on and" is said, as is the end of a sentence at the start of the next. Other phrases twice in a row are loops.
_CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "of"})
# A loop within a word. Words are searched one by one: one search of a long text would hold the interpreter.
_LETTERS_OF_WORD = re.compile(r"[^\W\d_]{1,10000}+")
_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"([^\W\d_]{1,10}?)\1{3,}")


@dataclass(frozen=True)
class TextWarning:
    """What may be wrong with an output. The detail is a sentence in English, and may quote source and output."""

    kind: WarningKind
    detail: str


class Compared(NamedTuple):
    """A source and its output: a sentence and its translation, or a text and its summary.

    `lost` has what should be in the output and is not. None: nobody has looked, and the numbers are compared here.
    `names` has the names that the output has misspelled. `parts` has the parts of a document, each with its summary, if
    it was summarized part by part.
    """

    source: str
    output: str
    finish_reason: FinishReason = "eos"
    truncated: bool = False
    lost: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    parts: tuple["Compared", ...] = ()


def output_warnings(task: Task, languages: Sequence[str], text: str, parts: Sequence[Compared]) -> list[TextWarning]:
    """Returns the warnings about an output, at most one of a kind: of a text, and of its sentences or its summary.

    `languages` are the source language of the model, and the target language of a translation; they may be unknown.
    """
    foreign = foreign_language(text, languages[0]) if languages else None
    found: dict[WarningKind, str | None] = {
        "language": foreign and f"The text seems to be in {foreign}. The model reads {language_name(languages[0])}.",
        "length": _first([_length(task, part) for part in parts]),
        "repetition": _first([_repetition(part) for part in parts]),
        "truncated": _first([_truncated(task, part) for part in parts]),
        "unfinished": _unfinished(task, parts),
    }
    if task is Task.TRANSLATION:
        # Of a document, the words of elements are translated a second time, alone.
        lost = [each for part in parts for each in _lost(part, languages)]
        found["lost"] = f"Not in the output: {_named([*dict.fromkeys(lost)])}." if lost else None
        found["untranslated"] = _first([_repeated_source(part, is_alone=len(parts) == 1) for part in parts])
    else:
        language = languages[0] if languages else ""
        notation = find_notation(language)
        decimal = notation.decimal if notation else None
        numbers = [each for part in parts for each in added_numbers(part.source, part.output, decimal)]
        found["number"] = f"Not in the text: {_named(numbers)}." if numbers else None
        dates = [each for part in parts for each in added_calendar_names(part.source, part.output, language)]
        found["date"] = f"Not in the text: {_named(dates)}." if dates else None
        misspelled = [name for part in parts for name in part.names]
        found["lost"] = f"Misspelled in the output: {_named(misspelled)}." if misspelled else None
    return [TextWarning(kind, detail) for kind, detail in found.items() if detail] if any(found.values()) else []


def is_repairable(warnings: Sequence[TextWarning]) -> bool:
    return any(each.kind in REPAIRABLE for each in warnings)


def untranslated(texts: Sequence[str]) -> TextWarning:
    """Returns the warning about parts of a document that stayed as they were."""
    return TextWarning("untranslated", f"Not translated, to keep the structure: {_named(texts)}.")


def _first(found: Sequence[str | None]) -> str | None:
    """Returns what is wrong with the first part with which something is wrong, and with how many others."""
    if not (faults := [(index, fault) for index, fault in enumerate(found) if fault]):
        return None
    index, fault = faults[0]
    others = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"Sentence {index + 1}{others}: {fault}" if len(found) > 1 else fault


def _length(task: Task, part: Compared) -> str | None:
    """Returns what is wrong with the length of an output. A summary may be as short as it likes, but not empty."""
    source, output = part.source, part.output
    # The end of what was cut is wanted, or has a warning of its own.
    if part.finish_reason != "eos" and len(output) <= len(source):
        return None
    if not output.strip():
        return "The output is empty." if any(character.isalnum() for character in source) else None
    before, after = count_characters(source), count_characters(output)
    if task is Task.SUMMARIZATION:
        how = "longer" if after > before else None
    elif after < SHORTEST * before - BY_CHANCE:
        how = "much shorter"
    else:
        how = "much longer" if after > LONGEST * before + BY_CHANCE else None
    return how and f"The output is {how} than its source: {len(output)} characters for {len(source)}."


def _repetition(part: Compared) -> str | None:
    found = repetition(part.source, part.output)
    return found and f"The output repeats “{_short(found[0])}” {found[1]} times in a row."


def _truncated(task: Task, part: Compared) -> str | None:
    faults = []
    if part.truncated:
        what = "sentence" if task is Task.TRANSLATION else "text"
        faults.append(f"The {what} is longer than the model can read. Only its start was read.")
    if part.finish_reason == "length":
        faults.append("The output ends at its maximum length, max_new_tokens.")
    return " ".join(faults) or None


def _unfinished(task: Task, parts: Sequence[Compared]) -> str | None:
    """Names the outputs of a text's sentences, or of the parts of its summary, that end in mid-sentence.

    A translation is only looked at where it ended at its limit: models drop the full stop of a whole sentence.
    """
    is_summary = task is Task.SUMMARIZATION
    outputs = [own for part in parts for own in part.parts or (part,) if is_summary or own.finish_reason == "length"]
    ends = [unfinished_end(own.source, own.output, own.finish_reason) for own in outputs]
    found = [f"“{_short_end(end)}”" for end in ends if end]
    return f"The output ends in mid-sentence: {_named(found)}." if found else None


def _short_end(text: str) -> str:
    return text if len(text) < QUOTED_CHARACTERS - 2 else "…" + text[3 - QUOTED_CHARACTERS :]


def _lost(part: Compared, languages: Sequence[str]) -> list[str]:
    source, target = language_pair(languages)
    if part.finish_reason == "stop":
        return []
    if target in WITHOUT_NUMBERS or not _DIGIT.search(part.source):
        return [*(part.lost or ()), *part.names]
    lost = lost_numbers(part.source, part.output) if part.lost is None else list(part.lost)
    return [*lost, *part.names, *changed_measures(part.source, part.output, source, target)]


def _repeated_source(part: Compared, *, is_alone: bool) -> str | None:
    """Says that a translation is its source. Sentences that may be names are not judged; a word of its own is."""
    if part.source.strip().casefold() != part.output.strip().casefold():
        return None
    words = [word.strip(".,;:!?") for word in part.source.split()]
    has_words = any(word.isalpha() and word.islower() and len(word) >= MIN_LETTERS_OF_WORD for word in words)
    is_word = is_alone and len(words) == 1 and words[0].isalpha() and not words[0].isupper()
    return "The output is the same as its source, which is right only for a name." if has_words or is_word else None


def _named(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return "; ".join(map(_short, items[:NAMED])) + more


def _short(text: str) -> str:
    return text if len(text) <= QUOTED_CHARACTERS else text[: QUOTED_CHARACTERS - 1] + "…"


def repetition(source: str, output: str) -> tuple[str, int] | None:
    """Returns the words or letters that an output repeats most often in a row, and how often.

    Returns None if it repeats nothing, or the source repeats something as often.
    """
    found = _most_repeated(output[:MAX_SEARCHED])
    if found is None:
        return None
    of_source = _most_repeated(source[:MAX_SEARCHED])
    return None if of_source is not None and of_source[1] >= found[1] else found


def _most_repeated(text: str) -> tuple[str, int] | None:
    folded = text.casefold()
    words, letters = _repeated_words(folded), _repeated_letters(folded)
    return letters if words is None or (letters is not None and letters[1] > words[1]) else words


def _repeated_words(text: str) -> tuple[str, int] | None:
    plain = text.replace(".", "").replace("!", "").replace("?", "").split()
    if len({*plain}) == len(text.split()) and max(text, default="") < "\u2e80":
        return None
    # Not `list(...)`, which would hold the interpreter.
    matches = [match for match in _WORD.finditer(text)]  # noqa: C416
    words = [match[0].rstrip(".!?") for match in matches]
    # Of a loop, each word but those of its first turn is one of these.
    repeated = len(words) - len(set(words))
    best: tuple[str, int] | None = None
    for size in range(1, min(MAX_WORDS, len(words) // 2, repeated) + 1):
        run, fewest = 0, MIN_REPEATS if size > 1 else MIN_REPEATS_OF_ONE
        # In a loop of `size` words, each word is the same as `size` words before.
        same = list(map(eq, words[size:], words))
        if sum(same) < (fewest - 1) * size:
            continue
        for index, is_same in enumerate(same, size):
            run = run + 1 if is_same else 0
            repeats = run // size + 1
            if repeats >= fewest and (best is None or repeats > best[1]):
                loop = text[matches[index - size + 1].start() : matches[index].end()]
                own = {*words[index - size + 1 : index + 1]}
                is_said = len(own) == 1 or own & _CONJUNCTIONS or text[matches[index - size].end() - 1] in ".!?"
                is_phrase = size == 1 or repeats > MIN_REPEATS or not is_said
                if is_phrase and len(loop.rstrip(".!?")) * repeats >= MIN_CHARACTERS:
                    best = loop, repeats
    return best


def _repeated_letters(text: str) -> tuple[str, int] | None:
    words = [word for word in text.split() if len(word) >= MIN_CHARACTERS]
    runs = [match[0] for word in words for match in _LETTERS_OF_WORD.finditer(word)]
    found = [match for run in runs for match in _LETTERS.finditer(run) if len(match[0]) >= MIN_CHARACTERS]
    longest = max(found, key=lambda match: len(match[0]), default=None)
    return None if longest is None else (longest[1], len(longest[0]) // len(longest[1]))
