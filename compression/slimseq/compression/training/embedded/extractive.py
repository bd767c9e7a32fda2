"""Makes targets and excerpts of the sentences of documents: many training pairs from few documents.

A small model first learns to copy, so these targets can be copied: the sentences that overlap the written summary most,
the leading sentences, or the sentence in which authors say what they do. Datelines of news agencies are left out.
"""

import re
from collections import Counter

import numpy as np

from slimseq.inference.text.sentences import sentences

# Written summaries are mostly about the beginning of a text, and a small model reads only that.
CONSIDERED_SENTENCES = 6
WORD = re.compile(r"[a-z0-9]+")
# The beginning of the sentence of an abstract that says what is new.
CLAIM = re.compile(
    r"\b(?:we (?:\w+ )?(?:propose|present|introduce|develop|describe|show|study|demonstrate|investigate|explore|"
    r"consider|provide|prove|design|address|analyze|derive|find|argue|examine|extend|apply|build|use|formulate|"
    r"establish|suggest|evaluate|aim)|this (?:paper|work|article))\b",
    re.IGNORECASE,
)
DATELINE = re.compile(r"^.{0,60}?\((?:CNN|Reuters|AP)\)\s*(?:--|-)?\s*")
VERBS = (
    r"(?:said|says|told [A-Z]\w+|tells [A-Z]\w+|reported|wrote|added|announced|confirmed)"
    r"(?: (?:on |in |at )?[\w ]{0,30})?"
)
# A comma inside quotation marks does not count: the speaker of the quotation follows it.
AT_THE_END = re.compile(rf", (?:[\w.'\u2019-]+ ){{1,6}}{VERBS}\.$")
ACCORDING = re.compile(r",? according to [^,.;]{3,60}(?=[,.]$|\.$|, )")
# Words: about the input window of a small model.
LONGEST_EXCERPT = 300


def extractive_summary(document: str, summary: str) -> str | None:
    """Returns the sentences of a document that together overlap its summary most.

    Sentences are added greedily while the overlap grows (Nallapati et al. 2017, https://arxiv.org/abs/1611.04230,
    section 3).

    Args:
        document: a text.
        summary: written by a person.

    Returns:
        Some of the first 6 sentences in their order, or None if none of them shares a word with the summary.
    """
    candidates = sentences(DATELINE.sub("", document))[:CONSIDERED_SENTENCES]
    words = [WORD.findall(candidate.lower()) for candidate in candidates]
    reference = WORD.findall(summary.lower())
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < len(candidates):
        scores = {
            index: _overlap([word for place in sorted([*chosen, index]) for word in words[place]], reference)
            for index in range(len(candidates))
            if index not in chosen
        }
        winner = max(scores, key=lambda index: (scores[index], -index))
        if scores[winner] <= best:
            break
        best = scores[winner]
        chosen.append(winner)
    return " ".join(candidates[index] for index in sorted(chosen)) if chosen else None


def leading_sentences(document: str, words: int, attributions: bool = True) -> str | None:
    """Returns the first sentences of a document, without its dateline, until they have this number of words.

    None for an empty document. Without `attributions`, clauses that name a speaker are left out.

    A lead with about the length of written summaries is the strongest simple summary of news, and a small model can
    learn to copy it.
    """
    taken: list[str] = []
    for sentence in sentences(DATELINE.sub("", document)):
        taken.append(sentence if attributions else without_attribution(sentence))
        if len(" ".join(taken).split()) >= words:
            break
    return " ".join(taken) or None


def claim(document: str) -> str | None:
    """Returns the first sentence in which authors say what they do ("We propose …", "This paper …"), or None.

    It is the strongest rule-based summary of an abstract.
    """
    return next((sentence for sentence in sentences(document) if CLAIM.search(sentence)), None)


def without_attribution(sentence: str) -> str:
    """Returns a sentence without the clause that names its source, if it has one.

    Written summaries leave such clauses out (", police said.", "according to …"). On 500 training and dev articles of
    CNN/DailyMail, leads of 38 words without attributions have ROUGE-1 0.3 and ROUGE-2 0.2 above those of 40 words with
    them.

    Args:
        sentence: one sentence with its full stop.
    """
    return ACCORDING.sub("", AT_THE_END.sub(".", sentence))


def excerpt(document: str, words: int, kept: str | None, draw: np.random.Generator) -> str:
    """Returns some sentences of a document in their order, after its dateline if it has one.

    Args:
        document: a text.
        words: minimum number of words, if the document has as many.
        kept: a sentence that the excerpt must contain; None for none.
        draw: determines where the excerpt begins and ends.
    """
    match = DATELINE.match(document)
    dateline = match.group() if match else ""
    parts = sentences(document[len(dateline) :])
    lengths = [len(part.split()) for part in parts]
    starts = [start for start in range(len(parts)) if sum(lengths[start:]) >= words] or [0]
    if kept in parts:
        starts = list(range(parts.index(kept) + 1))
    start = int(draw.choice(starts))
    wanted = int(draw.integers(words, max(words, LONGEST_EXCERPT) + 1))
    end = start + 1
    while end < len(parts) and (sum(lengths[start:end]) < wanted or (kept in parts and end <= parts.index(kept))):
        end += 1
    return dateline + " ".join(parts[start:end])


def _overlap(words: list[str], reference: list[str]) -> float:
    """Returns the sum of the F1 scores of shared words and of shared pairs of words, as ROUGE-1 and ROUGE-2 count."""
    return sum(_f1(_grams(words, size), _grams(reference, size)) for size in (1, 2))


def _grams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def _f1(left: Counter[tuple[str, ...]], right: Counter[tuple[str, ...]]) -> float:
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 0.0
