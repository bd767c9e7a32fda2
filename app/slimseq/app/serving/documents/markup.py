"""HTML for translation: its texts, and the same HTML with other texts in their place.

A sentence with inline tags, such as "The <b>red</b> house", is one passage: `slimseq.app.serving.documents.inline` puts
the tags back. Other tags part texts. Tags, comments and attributes are kept byte for byte. Elements that hold code, and
those with `translate="no"`, are not translated. HTML with an element that is not closed is rejected; end tags that the
HTML standard makes optional may be left out.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import turbohtml
from turbohtml import Token, TokenType

from slimseq.app.errors import UnclosedMarkup
from slimseq.app.serving.documents.inline import SPACES, Part, Passage, has_words, joined

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
# Their tags are within sentences. https://html.spec.whatwg.org/multipage/text-level-semantics.html
INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "del", "dfn", "em", "font", "i", "ins", "mark", "q", "s"),
        *("small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u"),
    }
)
_TEXT = (TokenType.TEXT, TokenType.CHARACTER_REFERENCE)


@dataclass
class _Open:
    """An element that is open: where it starts, whether its text is translated, and whether line breaks count."""

    tag: str
    place: str
    is_translated: bool
    is_preformatted: bool
    is_inline: bool = False


@dataclass
class Markup:
    """HTML as parts: markup that is kept, and in between the passages to translate.

    Args:
        kept: the markup before each passage, and after the last one.
        passages: the passages.
    """

    kept: list[str] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """The texts to translate, those of one passage after the other."""
        return [text for passage in self.passages for text in passage.texts]

    def filling(self, translations: Sequence[str]) -> Generator[None, None, str]:
        """Puts the translations of `texts` in their places, in small steps.

        Returns:
            The HTML.
        """
        first, *rest = self.kept
        written = [first]
        start = 0
        for passage, after in zip(self.passages, rest, strict=True):
            count = len(passage.texts)
            written += [passage.filled(translations[start : start + count]), after]
            start += count
            yield
        return "".join(written)


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
        # The markup since the last passage.
        self._kept: list[str] = []
        self._characters = 0
        # The texts and the inline tags since the last other tag.
        self._parts: list[Part] = []
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
        self._end_text()
        if token.type is TokenType.START_TAG:
            self._start(token, source)
        elif token.type is TokenType.END_TAG:
            self._close(token, source)
        else:
            self._flush()
            self._kept.append(source)
            if token.type is TokenType.COMMENT and not source.endswith(
                ("-->", "--!>") if source[:4] == "<!--" else ">"
            ):
                raise UnclosedMarkup(f"the comment at {_place(token)} is not closed")

    def end(self, source: str) -> None:
        """Reads the end of the HTML.

        Raises:
            UnclosedMarkup: a tag or an element is not closed.
        """
        self._end_text()
        self._flush()
        if self._characters < len(source):
            line = source.count("\n", 0, self._characters) + 1
            column = self._characters - source.rfind("\n", 0, self._characters)
            raise UnclosedMarkup(f"the tag at line {line}, column {column} is not closed with '>'")
        for element in reversed(self._open):
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(f"<{element.tag}> at {element.place} is not closed")
        self.markup.kept.append("".join(self._kept))

    def _end_text(self) -> None:
        if self._written:
            self._parts.append(Part("".join(self._written), "".join(self._resolved)))
            self._written, self._resolved = [], []

    def _start(self, token: Token, source: str) -> None:
        tag, attributes = token.tag or "", dict(token.attrs or [])
        if tag in VOID or token.self_closing:
            self._flush()
            self._kept.append(source)
            return
        is_inline = tag in INLINE and "translate" not in attributes
        if is_inline:
            self._parts.append(Part(source, is_start=True))
        else:
            self._flush()
            self._kept.append(source)
        if tag in OPTIONAL_END and self._open and self._open[-1].tag == tag:
            # As in "<p>One<p>Two": the second one ends the first.
            self._open.pop()
        parent = self._open[-1] if self._open else _Open("", "", True, False)
        wanted = attributes.get("translate")
        allowed = parent.is_translated if wanted is None else wanted.lower() != "no"
        self._open.append(
            _Open(
                tag,
                _place(token),
                allowed and tag not in NOT_TRANSLATED,
                parent.is_preformatted or tag in PREFORMATTED,
                is_inline,
            )
        )

    def _close(self, token: Token, source: str) -> None:
        if self._open and self._open[-1].tag == token.tag and self._open[-1].is_inline:
            self._parts.append(Part(source, is_end=True))
            self._open.pop()
            return
        self._flush()
        self._kept.append(source)
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
        """Ends the texts since the last tag that parts texts: one passage, or one for each text."""
        parts, self._parts = self._parts, []
        element = self._open[-1] if self._open else None
        is_translated = element is None or element.is_translated
        is_preformatted = element is not None and element.is_preformatted
        passage = joined(parts) if is_translated and not is_preformatted else None
        if passage is not None:
            before, found, after = passage
            self._add(before, found, after)
            return
        for part in parts:
            content = part.resolved.strip()
            if not is_translated or not has_words(content):
                self._kept.append(part.written)
                continue
            start = part.resolved.index(content[0])
            text = content if is_preformatted else SPACES.sub(" ", content)
            self._add(part.resolved[:start], Passage(text), part.resolved[start + len(content) :])

    def _add(self, before: str, passage: Passage, after: str) -> None:
        self.markup.kept.append("".join([*self._kept, before]))
        self.markup.passages.append(passage)
        self._kept = [after]


def _place(token: Token) -> str:
    return f"line {token.line}, column {token.col + 1}"
