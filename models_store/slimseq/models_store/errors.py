"""The root of the error hierarchy, the errors of the store, and how a message shows a text of somebody else."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

# Characters of a text of somebody else that logs, errors and reports show.
MAX_CHARACTERS = 1000
# Characters of a variant's name.
MAX_NAME_CHARACTERS = 64
# Characters of a message of another library.
MAX_REASON = 300


class SlimseqError(Exception):
    """Base class of every error whose message a caller may see."""


class UnknownVariant(SlimseqError):
    """Raised when a request names a variant that the store lacks. Lists its variants, and the nearest name."""

    def __init__(self, task: str, variant: str, known: Sequence[str]) -> None:
        if known:
            has = f"it has {', '.join(known)}"
        else:
            has = f"the store holds no {task} variant; `slimseq import` or `slimseq train` makes one"
        # No name of a variant is longer; a comparison with a long text would take time.
        near = get_close_matches(variant, known, n=1) if len(variant) <= MAX_NAME_CHARACTERS else []
        meant = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"{task} has no variant {variant!r}; {has}{meant}")


class InvalidArtifact(SlimseqError):
    """Raised when an artifact's manifest or configuration cannot be understood."""


class CorruptArtifact(SlimseqError):
    """Raised when a file of an artifact is missing or differs from its recorded size or hash."""

    def __init__(self, artifact: str, file: str, reason: str) -> None:
        super().__init__(f"{artifact}: {file} {reason}; rebuild or restore the artifact")
        self.file = file


class ArtifactInUse(SlimseqError):
    def __init__(self, artifact: str) -> None:
        super().__init__(f"another command is writing {artifact}; try again when it has ended")


class RuntimeUnavailable(SlimseqError):
    """Raised when no runtime here can open an artifact, or the requested runtime cannot."""


class Unprepared(SlimseqError):
    """Raised when files of an artifact are missing and cannot be built here. Names the command that builds them."""

    def __init__(self, artifact: str, reason: str) -> None:
        super().__init__(f"{artifact}: {reason}; run `slimseq prepare --store STORE` where the store is writable")


class InvalidOptions(SlimseqError):
    """Raised when generation options are outside of what the model can do."""


class UnsafeArtifactPath(SlimseqError):
    """Raised when a task, variant or file name would leave the store's folder."""


class BadSource(SlimseqError):
    """Raised when a model to import does not exist, is not allowed, or is of a kind that Slimseq does not take."""


class BadSignature(SlimseqError):
    """Raised when no trusted key signed an artifact, or when its files are not the signed files."""


class UnusableKey(SlimseqError):
    """Raised when a file is not a key that can sign, or check a signature."""


class CannotWrite(SlimseqError):
    """Raised when the disk is full, or there is no permission to write."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")


def first_line(error: BaseException) -> str:
    """Returns the first line of another library's message, or the type of the error if it has no message."""
    lines = str(error).strip().splitlines()
    return printable(shortened(lines[0], MAX_REASON)) if lines else type(error).__name__


def printable(text: str) -> str:
    r"""Returns a text, shortened if it is long. Characters that cannot be printed are escaped as in Python (`\x1b`)."""
    text = shortened(text, MAX_CHARACTERS)
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shortened(text: str, limit: int) -> str:
    """Cuts the middle out of a text of more than `limit` characters, and says there how many were cut."""
    if len(text) <= limit:
        return text
    start = limit // 2
    return f"{text[:start]} … {len(text) - limit} characters … {text[start - limit :]}"
