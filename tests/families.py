"""The two model families that most tests use. All others differ from BART or T5 in a few places."""

from enum import StrEnum


class Family(StrEnum):
    """A model family, by the name that a manifest has for it."""

    T5 = "t5"
    BART = "bart"
