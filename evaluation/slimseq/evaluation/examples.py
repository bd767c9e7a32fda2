"""What a data set is made of: examples of a source and the target expected for it."""

from dataclasses import dataclass

from slimseq.models_store.errors import SlimseqError


class DatasetUnavailable(SlimseqError):
    """Raised when a data set is not there, cannot be reached, or is not in a form that can be read."""


@dataclass(frozen=True)
class Example:
    """A document and its summary, or a sentence and its translation.

    `prefix` goes before the source instead of the artifact's own one; None keeps that. `origin` names the collection
    that it came from, where a file says so.
    """

    source: str
    target: str
    prefix: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class DatasetSample:
    """Examples taken from the start of one split of a data set."""

    name: str
    split: str
    examples: tuple[Example, ...]
