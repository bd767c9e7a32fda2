"""The two families that most tests use: all others are small changes of BART, or of T5."""

from enum import StrEnum


class Family(StrEnum):
    """A model family, by the name that a manifest has for it."""

    T5 = "t5"
    BART = "bart"
