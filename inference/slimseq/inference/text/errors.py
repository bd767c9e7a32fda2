"""What may be wrong with the texts and options of a prompt. The service answers each with status 422."""

from slimseq.models_store.errors import SlimseqError


class InvalidPrompt(SlimseqError):
    """Raised when a field of a prompt cannot be used, such as a text with too many sentences. Names the field."""


class UnsupportedLanguages(SlimseqError):
    """Raised when a request names a language that the variant does not translate from or to."""


class UnclosedMarkup(SlimseqError):
    """Raised when HTML has an element, tag or comment that is not closed, or an end tag too many. Names the place."""


class MarkupTooComplex(SlimseqError):
    """Raised when Markdown is longer or nested deeper than can be read in time. Names the line where there is one."""


class TextTooLong(SlimseqError):
    """Raised when a text exceeds the context window and the request forbids truncation. Names the text."""
