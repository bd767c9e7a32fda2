"""Targets and excerpts made of a document's own sentences: many training pairs from few documents.

A small model learns to copy before all else, so it is given targets that it can copy: the sentences that overlap the
written summary most, the leading ones, or the one that says what authors do. A news agency's dateline is left out of
targets, as editors do.
"""

import re
from collections import Counter

import numpy as np

from slimseq.evaluation.sentences import sentences

# Written summaries mostly rest on how a text begins, and a small model sees only that.
CONSIDERED_SENTENCES = 6
WORD = re.compile(r"[a-z0-9]+")
# How abstracts of research papers begin the sentence that says what is new.
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
# A comma inside quotation marks is left alone: what follows it says whose words were quoted.
AT_THE_END = re.compile(rf", (?:[\w.'\u2019-]+ ){{1,6}}{VERBS}\.$")
ACCORDING = re.compile(r",? according to [^,.;]{3,60}(?=[,.]$|\.$|, )")
LONGEST_EXCERPT = 300  # words; about what a small model's input window holds


def extractive_summary(document: str, summary: str) -> str | None:
    """Returns the sentences of a document that together overlap its summary most.

    Sentences are added greedily while the overlap grows (Nallapati et al. 2017, https://arxiv.org/abs/1611.04230,
    section 3).

    Args:
        document: a text.
        summary: what a person wrote of it.

    Returns:
        Some of the first 6 sentences in their order, or None where none of them shares a word with the summary.
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
    """Returns a document's first sentences, without its dateline, until they have so many words.

    None where it is empty. Without `attributions` clauses that say whose words a sentence has are left out before.

    A lead that ends near the length of written summaries is the strongest simple summary of news, and one that a small
    model can learn to copy.
    """
    taken: list[str] = []
    for sentence in sentences(DATELINE.sub("", document)):
        taken.append(sentence if attributions else without_attribution(sentence))
        if len(" ".join(taken).split()) >= words:
            break
    return " ".join(taken) or None


def claim(document: str) -> str | None:
    """Returns the sentence in which the authors of a document first say what they do ("We propose …", "This paper …").

    None where there is none. Of an abstract it is the strongest summary that a rule can make.
    """
    return next((sentence for sentence in sentences(document) if CLAIM.search(sentence)), None)


def without_attribution(sentence: str) -> str:
    """Returns a sentence without the clause that names its source, or as it is where it has none.

    Those who write summaries leave it out (", police said.", "according to …"). On 500 training and dev articles of
    CNN/DailyMail, leads of 38 words without attributions have ROUGE-1 0.3 and ROUGE-2 0.2 above those of 40 words with
    them.

    Args:
        sentence: one sentence with its full stop.
    """
    return ACCORDING.sub("", AT_THE_END.sub(".", sentence))


def excerpt(document: str, words: int, kept: str | None, draw: np.random.Generator) -> str:
    """Returns some of a document's sentences in their order, after its dateline where it has one.

    Args:
        document: a text.
        words: the excerpt has at least so many words if the document does.
        kept: a sentence that must be among them; None asks for no certain one.
        draw: decides where the excerpt begins and ends.
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
