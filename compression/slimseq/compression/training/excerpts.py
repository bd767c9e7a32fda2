"""Excerpts of documents: many texts made of few, each a run of a document's sentences."""

import numpy as np

from slimseq.compression.training.extraction import DATELINE
from slimseq.evaluation.sentences import sentences

LONGEST_EXCERPT = 300  # words; about what a small model's input window holds


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
