"""Text that others chose, as logs, errors and reports may show it: nothing invisible in it, and not too long."""

MAX_CHARACTERS = 1000


def printable(text: str) -> str:
    r"""Returns a text, shortened if it is long, with what is not printable escaped as in Python (`\x1b`)."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shortened(text, MAX_CHARACTERS))


def shortened(text: str, limit: int) -> str:
    """Returns a text with its middle cut out if it has more than `limit` characters, and how many those were."""
    if len(text) <= limit:
        return text
    start = limit // 2
    return f"{text[:start]} … {len(text) - limit} characters … {text[start - limit :]}"
