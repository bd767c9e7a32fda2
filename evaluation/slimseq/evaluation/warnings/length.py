"""Whether an output is much shorter or longer than its source."""

import re

from slimseq.models_store.manifest import Task

# Characters that stand for a syllable or a word: a translation into Chinese or Japanese has fewer of them.
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
LETTERS_OF_A_WIDE_CHARACTER = 3
# Bounds of a translation's characters: a share of those of its source, and as many more or fewer as short sentences
# have by chance. At least 99.95 % of the references are within (`python -m benchmarks.output_warnings --data FILE`).
SHORTEST, LONGEST, BY_CHANCE = 0.6, 2.0, 20


def length_fault(task: Task, source: str, output: str) -> str | None:
    """Returns what is wrong with the length of an output as a sentence, or None.

    A summary may be as short as it likes, but neither empty nor longer than its source.
    """
    if not output.strip():
        return "The output is empty." if any(map(str.isalnum, source)) else None
    before, after = characters(source), characters(output)
    if task is Task.SUMMARIZATION:
        is_short, is_long = False, after > before
    else:
        is_short = after < SHORTEST * before - BY_CHANCE
        is_long = after > LONGEST * before + BY_CHANCE
    if not is_short and not is_long:
        return None
    how = "much shorter" if is_short else "much longer" if task is Task.TRANSLATION else "longer"
    return f"The output is {how} than its source: {len(output)} characters for {len(source)}."


def characters(text: str) -> int:
    """Returns the length of a text in characters of an alphabet."""
    if text.isascii():
        return len(text)
    return len(text) + (LETTERS_OF_A_WIDE_CHARACTER - 1) * sum(1 for _ in _WIDE.finditer(text))
