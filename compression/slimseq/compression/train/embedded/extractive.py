"""Makes targets and excerpts of the sentences of documents: many training pairs from few documents.

A small model first learns to copy, so these targets can be copied: the leading sentences, or the sentence in which
authors say what they do. Datelines of news agencies are left out.
"""

import re

import numpy as np

from slimseq.inference.text.sentences import sentences

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


def leading_sentences(document: str, words: int) -> str | None:
    """Returns the first sentences of a document until they have this number of words, or None if it is empty.

    Its dateline is left out, and the clauses that name a speaker.

    A lead with about the length of written summaries is the strongest simple summary of news, and a small model can
    learn to copy it.
    """
    taken: list[str] = []
    for sentence in sentences(DATELINE.sub("", document)):
        taken.append(without_attribution(sentence))
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
    """
    return ACCORDING.sub("", AT_THE_END.sub(".", sentence))


def excerpt(document: str, words: int, kept: str | None, draw: np.random.Generator) -> str:
    """Returns some sentences of a document in their order, after its dateline if it has one.

    They have at least so many words, if the document has as many, and contain the sentence `kept`. `draw` determines
    where the excerpt begins and ends.
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
