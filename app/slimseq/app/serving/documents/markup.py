"""HTML for translation: its text nodes, and the same HTML with other texts in their place.

Each text node is translated on its own, so that texts never mix across tags: "The <b>red</b> house" is three texts.
Tags, comments and attributes are kept byte for byte. Elements that hold code, and those with `translate="no"`, are not
translated. HTML with an element that is not closed is rejected; end tags that the HTML standard makes optional may be
left out.
"""

import html
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import turbohtml
from turbohtml import Token, TokenType

from slimseq.app.errors import UnclosedMarkup

# To tokenize so many characters takes a millisecond.
PIECE_CHARACTERS = 16 * 1024
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
# https://html.spec.whatwg.org/multipage/syntax.html#optional-tags
OPTIONAL_END = frozenset(
    {
        *("html", "head", "body", "li", "dt", "dd", "p", "rt", "rp", "optgroup", "option", "colgroup", "caption"),
        *("thead", "tbody", "tfoot", "tr", "td", "th"),
    }
)
# Their content is not HTML, so nothing in it is escaped.
RAW = frozenset({"script", "style", "iframe", "noembed", "noframes", "xmp", "plaintext", "noscript"})
NOT_TRANSLATED = RAW | {"code", "kbd", "samp", "var", "math", "textarea"}
# Line breaks are part of the text there. Elsewhere they are spaces.
PREFORMATTED = frozenset({"pre", "listing"})
_TEXT = (TokenType.TEXT, TokenType.CHARACTER_REFERENCE)
_SPACES = re.compile(r"[ \t\n\f\r]+")


@dataclass
class _Open:
    """An element that is open: where it starts, whether its text is translated, and whether line breaks count."""

    tag: str
    place: str
    is_translated: bool
    is_preformatted: bool


@dataclass
class Markup:
    """HTML as parts: markup that is kept, and in between the texts to translate.

    Args:
        kept: the markup before each text, and after the last one.
        texts: the texts, with character references resolved.
    """

    kept: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def filled(self, translations: Sequence[str]) -> str:
        """Returns the HTML with a translation in place of each text."""
        first, *rest = self.kept
        pairs = zip(translations, rest, strict=True)
        return first + "".join(html.escape(translation, quote=False) + after for translation, after in pairs)


def parsing(source: str) -> Generator[None, None, Markup]:
    """Splits HTML into markup and texts, in small steps.

    Args:
        source: a document or a fragment.

    Raises:
        UnclosedMarkup: an element, tag or comment is not closed, or an end tag closes nothing. Names the place.
    """
    reader = _Reader()
    # The tokenizer reads line ends in this way too. Then what it reads has the length of what it returns.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tokenizer = turbohtml.Tokenizer(resolve_references=False, capture_source=True)
    for start in range(0, len(source), PIECE_CHARACTERS):
        for token in tokenizer.feed(source[start : start + PIECE_CHARACTERS]):
            reader.read(token)
        yield
    for token in tokenizer.close():
        reader.read(token)
    reader.end(source)
    return reader.markup


class _Reader:
    """Reads tokens into `Markup`, with the stack of open elements."""

    def __init__(self) -> None:
        self.markup = Markup()
        self._open: list[_Open] = []
        # The markup since the last text.
        self._kept: list[str] = []
        self._characters = 0
        # The text since the last tag: as it is written, and with references resolved.
        self._written: list[str] = []
        self._resolved: list[str] = []

    def read(self, token: Token) -> None:
        """Reads the next token."""
        source = (token.source if token.source is not None else token.data) or ""
        self._characters += len(source)
        if token.type in _TEXT:
            self._written.append(source)
            self._resolved.append(token.data or "")
            return
        self._flush()
        self._kept.append(source)
        if token.type is TokenType.START_TAG:
            self._start(token)
        elif token.type is TokenType.END_TAG:
            self._close(token)
        elif token.type is TokenType.COMMENT and not source.endswith(("-->", "--!>") if source[:4] == "<!--" else ">"):
            raise UnclosedMarkup(f"the comment at {_place(token)} is not closed")

    def end(self, source: str) -> None:
        """Reads the end of the HTML.

        Raises:
            UnclosedMarkup: a tag or an element is not closed.
        """
        self._flush()
        if self._characters < len(source):
            line = source.count("\n", 0, self._characters) + 1
            column = self._characters - source.rfind("\n", 0, self._characters)
            raise UnclosedMarkup(f"the tag at line {line}, column {column} is not closed with '>'")
        for element in reversed(self._open):
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(f"<{element.tag}> at {element.place} is not closed")
        self.markup.kept.append("".join(self._kept))

    def _start(self, token: Token) -> None:
        tag = token.tag or ""
        if tag in VOID or token.self_closing:
            return
        if tag in OPTIONAL_END and self._open and self._open[-1].tag == tag:
            # As in "<p>One<p>Two": the second one ends the first.
            self._open.pop()
        parent = self._open[-1] if self._open else _Open("", "", True, False)
        wanted = dict(token.attrs or []).get("translate")
        allowed = parent.is_translated if wanted is None else wanted.lower() != "no"
        self._open.append(
            _Open(
                tag,
                _place(token),
                allowed and tag not in NOT_TRANSLATED,
                parent.is_preformatted or tag in PREFORMATTED,
            )
        )

    def _close(self, token: Token) -> None:
        for index in reversed(range(len(self._open))):
            element = self._open[index]
            if element.tag == token.tag:
                del self._open[index:]
                return
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(
                    f"<{element.tag}> at {element.place} is not closed before </{token.tag}> at {_place(token)}"
                )
        # Browsers make elements of these two.
        if token.tag not in ("br", "p"):
            raise UnclosedMarkup(f"</{token.tag}> at {_place(token)} closes no element")

    def _flush(self) -> None:
        """Ends the text since the last tag."""
        written, resolved = "".join(self._written), "".join(self._resolved)
        self._written, self._resolved = [], []
        element = self._open[-1] if self._open else None
        content = resolved.strip()
        if not any(map(str.isalpha, content)) or (element and not element.is_translated):
            self._kept.append(written)
            return
        start = resolved.index(content[0])
        self.markup.kept.append("".join([*self._kept, resolved[:start]]))
        self._kept = [resolved[start + len(content) :]]
        is_preformatted = element is not None and element.is_preformatted
        self.markup.texts.append(content if is_preformatted else _SPACES.sub(" ", content))


def _place(token: Token) -> str:
    return f"line {token.line}, column {token.col + 1}"
