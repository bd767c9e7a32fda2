"""Counts the values and the depth of a JSON body while it arrives, before a parser allocates objects.

`slimseq.app.http.body` feeds it. Invalid JSON may be counted wrongly after its first wrong character, where
the parser stops anyway.
"""

import codecs

from slimseq.app.errors import BodyTooComplex, MalformedBody

PIECE_BYTES = 64 * 1024  # A scan takes about 0.3 ms, so that the event loop is not blocked.
MAX_DEPTH = 16  # The deepest request of the API has 3 levels.

_QUOTE, _BACKSLASH = b'"', b"\\"
_STRUCTURE = b',:[{]}"'
_NO_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_NO_BRACKETS = b",:"
_OPENING = b"[{"


class JsonScanner:
    """Scans one body, with operations on whole bytes objects and no Python loop over characters."""

    def __init__(self, max_values: int) -> None:
        """Starts outside of any string.

        Args:
            max_values: maximum number of commas, colons and opening brackets outside of strings.
        """
        self._max_values = max_values
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self._values = 0
        self._depth = 0
        self._is_in_string = False
        self._kept = b""

    def feed(self, piece: bytes, is_last: bool = False) -> None:
        """Scans the next bytes.

        Args:
            piece: at most `PIECE_BYTES`.
            is_last: whether the body ends with them.

        Raises:
            BodyTooComplex: there are too many values.
            MalformedBody: the body is nested too deeply, or is not UTF-8.
        """
        self._check_encoding(piece, is_last)
        self._check_structure(self._outside_of_strings(piece))

    def _check_encoding(self, piece: bytes, is_last: bool) -> None:
        begun = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece, is_last)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, self._bytes - begun) from error
        self._bytes += len(piece)

    def _outside_of_strings(self, piece: bytes) -> bytes:
        """Returns the structural characters of a piece that are outside of strings."""
        piece = self._kept + piece
        self._kept = b""
        if _BACKSLASH in piece:
            # A backslash at the end escapes the first character of the next piece, unless it is itself escaped.
            if (len(piece) - len(piece.rstrip(_BACKSLASH))) % 2:
                piece, self._kept = piece[:-1], _BACKSLASH
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.translate(None, _NO_STRUCTURE).split(_QUOTE)
        outside = b"".join(parts[self._is_in_string :: 2])
        self._is_in_string ^= len(parts) % 2 == 0
        return outside

    def _check_structure(self, structure: bytes) -> None:
        brackets = structure.translate(None, _NO_BRACKETS)
        for bracket in brackets[: 2 * self._max_values]:
            self._depth += 1 if bracket in _OPENING else -1
            if self._depth > MAX_DEPTH:
                raise MalformedBody(f"the body is nested too deeply: more than {MAX_DEPTH} levels")
        closing = brackets.count(b"]") + brackets.count(b"}")
        self._values += len(structure) - closing
        if self._values > self._max_values:
            raise BodyTooComplex(self._max_values)


def may_exceed(body: bytes, max_values: int) -> bool:
    """Whether a body could have too many values or levels. A short body cannot."""
    return len(body) > max_values or body.count(b"[") + body.count(b"{") > MAX_DEPTH


def check_encoding(body: bytes) -> None:
    """Checks the encoding of a body that needs no `JsonScanner`.

    Raises:
        MalformedBody: it is not UTF-8. Names the byte.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, 0) from error


def _not_utf8(error: UnicodeDecodeError, offset: int) -> MalformedBody:
    return MalformedBody(f"the body is not UTF-8: {error.reason} at byte {offset + error.start}")
