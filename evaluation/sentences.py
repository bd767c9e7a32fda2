"""Cuts English text into sentences, for lead-3 and ROUGE-Lsum, with the `sentencex` segmenter."""

import sentencex


def sentences(text: str) -> list[str]:
    """Returns the text's sentences in order, stripped, without empty ones. A blank line always ends a sentence."""
    stripped = (str(sentence).strip() for sentence in sentencex.segment("en", text))
    return [sentence for sentence in stripped if sentence]
