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
from slimseq.inference.text.numbers import FIRST_WITHOUT_SPACES, lost_numbers
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
# The kinds for which an output is tried again (`repair`).
REPAIRABLE: frozenset[WarningKind] = frozenset({"length", "repetition", "lost"})

# Bounds of a translation's length, as shares of the length of its source. At least 99.95 % of the references of the
# development data are within the bounds.
SHORTEST, LONGEST = 0.6, 2.0
# Characters by which a translation may exceed these bounds, for short sentences.
BY_CHANCE = 20
# How many texts a detail quotes at most, and how many characters of each.
MAX_QUOTED, QUOTED_CHARACTERS = 5, 40
# Shorter words in small letters may be parts of names, such as "van der".
MIN_LETTERS_OF_WORD = 4
# Target languages whose numbers are not compared. They count in ten thousands: 32億 is 3.2 billion.
WITHOUT_NUMBERS = frozenset({"zh", "ja", "ko"})

# A word, or a character of a script without spaces between words.
_WORD = re.compile("[\u2e80-\u9fff]|[^\\s\u2e80-\u9fff]+")
# A loop has at most so many words. Longer ones are rare, and each length costs a pass over the words.
MAX_WORDS = 12
# Characters of a text that are searched for loops. The search is linear, and takes 0.2 s for so many.
MAX_SEARCHED = 100_000
# A loop is one word at least four times in a row, or several words at least twice. It has at least ten characters.
# "Very, very, very good" is no loop, nor is "la la la la".
MIN_REPEATS_OF_ONE, MIN_REPEATS = 4, 2
MIN_CHARACTERS = 10
# Sentences end with these.
_ENDS = ".!?"

# People say "on and on and", and begin a sentence with the words that end the one before. Other phrases twice in a row
# are loops.
_CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "of"})
# Letters in which a loop within a word is searched. One search of a long text would hold the interpreter.
_RUN_OF_LETTERS = re.compile(r"[^\W\d_]{1,10000}+")
# A loop within a word: up to ten letters, four times in a row.
_REPEATED_LETTERS = re.compile(r"([^\W\d_]{1,10}?)\1{3,}")
_DIGIT = re.compile(r"\d")
# Two letters in a row that are not Latin ones: from the Greek and Cyrillic scripts on.
_OTHER_SCRIPT = re.compile(r"(?:[\u0370-\U0010ffff](?<=[^\W\d_])){2}")
SAME_AS_SOURCE = "The output is the same as its source, which is right only for a name."


@dataclass(frozen=True)
class TextWarning:
    """What may be wrong with an output. The detail is a sentence in English, and may quote source and output."""

    kind: WarningKind
    detail: str


class Compared(NamedTuple):
    """A source and its output: a sentence and its translation, or a text and its summary.

    Args:
        lost: what should be in the output and is not. None: the caller has not looked, so numbers are compared here.
        names: the names that the output has misspelled.
        parts: of a document that was summarized part by part, each part with its summary.
    """

    source: str
    output: str
    finish_reason: FinishReason = "eos"
    truncated: bool = False
    lost: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    parts: tuple["Compared", ...] = ()


class Loop(NamedTuple):
    """Words or letters that are repeated in a row, and how many times they are there."""

    repeated: str
    times: int


def output_warnings(task: Task, languages: Sequence[str], text: str, parts: Sequence[Compared]) -> list[TextWarning]:
    """Returns the warnings about the output of a text, at most one of each kind.

    `languages` are the source language of the model, and the target language of a translation; they may be unknown.
    `text` is the source without markup, of which only the language is looked at. `parts` has the sentences of the text
    with their translations, or the text with its summary.
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
        # Without duplicates: the words of a document's elements are translated a second time, alone.
        lost = [*dict.fromkeys(each for part in parts for each in _lost(part, languages))]
        found["lost"] = f"Not in the output: {_quoted(lost)}." if lost else None
        found["untranslated"] = _first([_repeated_source(part, is_alone=len(parts) == 1) for part in parts])
        if not parts and _OTHER_SCRIPT.search(text):
            # The model cannot write these letters, so that all words stayed as they are.
            found["untranslated"] = SAME_AS_SOURCE
    else:
        language = languages[0] if languages else ""
        notation = find_notation(language)
        decimal = notation.decimal if notation else None
        numbers = [each for part in parts for each in added_numbers(part.source, part.output, decimal)]
        found["number"] = f"Not in the text: {_quoted(numbers)}." if numbers else None
        dates = [each for part in parts for each in added_calendar_names(part.source, part.output, language)]
        found["date"] = f"Not in the text: {_quoted(dates)}." if dates else None
        misspelled = [name for part in parts for name in part.names]
        found["lost"] = f"Misspelled in the output: {_quoted(misspelled)}." if misspelled else None
    return [TextWarning(kind, detail) for kind, detail in found.items() if detail]


def is_repairable(warnings: Sequence[TextWarning]) -> bool:
    return any(each.kind in REPAIRABLE for each in warnings)


def untranslated(texts: Sequence[str]) -> TextWarning:
    """Returns the warning about parts of a document that stayed as they were."""
    return TextWarning("untranslated", f"Not translated, to keep the structure: {_quoted(texts)}.")


def _first(found: Sequence[str | None]) -> str | None:
    """Returns the first fault of the parts, with the number of its sentence, and how many other faults there are."""
    faults = [(index, fault) for index, fault in enumerate(found) if fault]
    if not faults:
        return None
    index, fault = faults[0]
    others = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"Sentence {index + 1}{others}: {fault}" if len(found) > 1 else fault


def _length(task: Task, part: Compared) -> str | None:
    """Returns what is wrong with the length of an output. A summary may be as short as it likes, but not empty."""
    source, output = part.source, part.output
    # An output ends early at a stop string, as the user wants, or at a limit, which has a warning of its own.
    if part.finish_reason != "eos" and len(output) <= len(source):
        return None
    if not output.strip():
        return "The output is empty." if any(character.isalnum() for character in source) else None
    before, after = count_characters(source), count_characters(output)
    is_summary = task is Task.SUMMARIZATION
    if is_summary and after > before:
        how = "longer"
    elif not is_summary and after < SHORTEST * before - BY_CHANCE:
        how = "much shorter"
    elif not is_summary and after > LONGEST * before + BY_CHANCE:
        how = "much longer"
    else:
        return None
    return f"The output is {how} than its source: {len(output)} characters for {len(source)}."


def _repetition(part: Compared) -> str | None:
    found = repetition(part.source, part.output)
    if found is None:
        return None
    repeated, times = found
    return f"The output repeats “{_short(repeated)}” {times} times in a row."


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
    compared = [own for part in parts for own in part.parts or (part,)]
    if task is not Task.SUMMARIZATION:
        compared = [own for own in compared if own.finish_reason == "length"]
    ends = [unfinished_end(own.source, own.output, own.finish_reason) for own in compared]
    found = [f"“{_shortened_start(end)}”" for end in ends if end]
    return f"The output ends in mid-sentence: {_quoted(found)}." if found else None


def _shortened_start(text: str) -> str:
    """Returns a text to be quoted. Only the end of a longer one is kept, after an ellipsis."""
    # The quotation marks count too.
    limit = QUOTED_CHARACTERS - 2
    if len(text) < limit:
        return text
    kept = limit - len("…")
    return "…" + text[-kept:]


def _lost(part: Compared, languages: Sequence[str]) -> list[str]:
    """Returns what a translation should have of its source and has not. One that ends at a stop string may lack all."""
    source, target = language_pair(languages)
    if part.finish_reason == "stop":
        return []
    if target in WITHOUT_NUMBERS or not _DIGIT.search(part.source):
        return [*(part.lost or ()), *part.names]
    lost = lost_numbers(part.source, part.output) if part.lost is None else list(part.lost)
    return [*lost, *part.names, *changed_measures(part.source, part.output, source, target)]


def _repeated_source(part: Compared, *, is_alone: bool) -> str | None:
    """Says that a translation is its source. A sentence that may be a name gets no warning; a word alone gets one."""
    if part.source.strip().casefold() != part.output.strip().casefold():
        return None
    words = [word.strip(".,;:!?") for word in part.source.split()]
    has_words = any(word.isalpha() and word.islower() and len(word) >= MIN_LETTERS_OF_WORD for word in words)
    is_only_word = is_alone and len(words) == 1 and words[0].isalpha() and not words[0].isupper()
    return SAME_AS_SOURCE if has_words or is_only_word else None


def _quoted(items: Sequence[str]) -> str:
    more = f" and {len(items) - MAX_QUOTED} more" if len(items) > MAX_QUOTED else ""
    return "; ".join(map(_short, items[:MAX_QUOTED])) + more


def _short(text: str) -> str:
    return text if len(text) <= QUOTED_CHARACTERS else text[: QUOTED_CHARACTERS - 1] + "…"


def repetition(source: str, output: str) -> Loop | None:
    """Returns the words or letters that an output repeats most often in a row, and how often.

    Returns None if it repeats nothing, or the source repeats something as often.
    """
    found = _most_repeated(output[:MAX_SEARCHED])
    if found is None:
        return None
    of_source = _most_repeated(source[:MAX_SEARCHED])
    if of_source is not None and of_source.times >= found.times:
        return None
    return found


def _most_repeated(text: str) -> Loop | None:
    folded = text.casefold()
    words, letters = _repeated_words(folded), _repeated_letters(folded)
    if words is None or letters is None:
        return words or letters
    return letters if letters.times > words.times else words


def _repeated_words(text: str) -> Loop | None:
    """Returns the words that a text repeats most often in a row."""
    plain = text.replace(".", "").replace("!", "").replace("?", "").split()
    if len({*plain}) == len(text.split()) and max(text, default="") < FIRST_WITHOUT_SPACES:
        # All words are different, and none is of a script without spaces.
        return None
    # Not `list(...)`, which would hold the interpreter.
    matches = [match for match in _WORD.finditer(text)]  # noqa: C416
    words = [match[0].rstrip(_ENDS) for match in matches]
    # How many words were there before. All words of a loop are among them, except in its first turn.
    repeated = len(words) - len(set(words))
    best: Loop | None = None
    for size in range(1, min(MAX_WORDS, len(words) // 2, repeated) + 1):
        fewest = MIN_REPEATS if size > 1 else MIN_REPEATS_OF_ONE
        # In a loop of `size` words, each word is the same as `size` words before.
        same = list(map(eq, words[size:], words))
        if sum(same) < (fewest - 1) * size:
            continue
        # How many words in a row are the same as `size` words before.
        run = 0
        for last, is_same in enumerate(same, size):
            run = run + 1 if is_same else 0
            repeats = run // size + 1
            if repeats < fewest or (best is not None and repeats <= best.times):
                continue
            first = last - size + 1
            words_of_loop = text[matches[first].start() : matches[last].end()]
            is_after_sentence = text[matches[first - 1].end() - 1] in _ENDS
            may_be_said = _may_be_said(words[first : last + 1], is_after_sentence=is_after_sentence)
            is_fault = repeats > MIN_REPEATS or not may_be_said
            if is_fault and len(words_of_loop.rstrip(_ENDS)) * repeats >= MIN_CHARACTERS:
                best = Loop(words_of_loop, repeats)
    return best


def _may_be_said(words: Sequence[str], *, is_after_sentence: bool) -> bool:
    """Whether people say these words twice in a row."""
    different = set(words)
    return len(different) == 1 or not different.isdisjoint(_CONJUNCTIONS) or is_after_sentence


def _repeated_letters(text: str) -> Loop | None:
    """Returns the letters that a word of a text repeats in the longest run."""
    words = [word for word in text.split() if len(word) >= MIN_CHARACTERS]
    runs = [match[0] for word in words for match in _RUN_OF_LETTERS.finditer(word)]
    found = [match for run in runs for match in _REPEATED_LETTERS.finditer(run) if len(match[0]) >= MIN_CHARACTERS]
    longest = max(found, key=lambda match: len(match[0]), default=None)
    if longest is None:
        return None
    letters = longest[1]
    return Loop(letters, len(longest[0]) // len(letters))
