"""HTML for translation: its texts, and the same HTML with other texts in their place.

A sentence with inline tags, such as "The <b>red</b> house", is one passage: `inline` puts the tags back. Other tags
part texts. Tags, comments and attributes (also `alt` and `title`) are kept byte for byte. Elements that hold code, and
those with `translate="no"`, are not translated. HTML with an element that is not closed is rejected; end tags that the
HTML standard makes optional may be left out.
"""

import html
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import turbohtml
from turbohtml import Token, TokenType

from slimseq.app.errors import UnclosedMarkup
from slimseq.app.serving.documents.formats.document import Document, Section, Written
from slimseq.app.serving.documents.formats.inline import SPACES, Part, Passage, arranged, in_pieces

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
CODE = frozenset({"code", "kbd", "samp", "var"})
NOT_TRANSLATED = RAW | CODE | {"math", "textarea"}
# Void elements within sentences. `wbr` has no width of its own.
ATOMIC = frozenset({"img", "input", "embed", "wbr"})
# Their text is not part of what a document says.
NOT_SAID = RAW | {"head", "template", "svg", "math", "textarea", "select"}
# Line breaks are part of the text there. Elsewhere they are spaces.
PREFORMATTED = frozenset({"pre", "listing"})
# Their tags are within sentences. https://html.spec.whatwg.org/multipage/text-level-semantics.html
INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "del", "dfn", "em", "font", "i", "ins", "mark", "q", "s"),
        *("small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u"),
    }
)
# Between the lines of what a document says.
_PARAGRAPH = "\x1e"
_TEXT = (TokenType.TEXT, TokenType.CHARACTER_REFERENCE)


@dataclass
class _Open:
    """An element that is open: where it starts, and what holds for its text.

    Code within `pre` is silent: a summary does not read it, as it does not read scripts.
    """

    tag: str
    place: str
    is_translated: bool
    is_preformatted: bool
    is_inline: bool = False
    is_silent: bool = False


@dataclass
class _Sentence:
    """A section: markup and one passage."""

    before: str
    passage: Passage

    @cached_property
    def texts(self) -> list[str]:
        return self.passage.texts

    def written(self, translations: Sequence[str]) -> Written:
        return Written(self.before + self.passage.filled(translations))


def reading_html(source: str) -> Generator[None, None, Document]:
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
    return reader.end(source)


def _escaped(before: str, text: str, after: str) -> str:
    return html.escape(text, quote=False)


class _Reader:
    """Reads tokens into sections, with the stack of open elements."""

    def __init__(self) -> None:
        self._sections: list[Section] = []
        self._said: list[str] = []
        self._open: list[_Open] = []
        # How many elements of each tag are open, and those among the open ones whose end tag must be there.
        self._counts: Counter[str] = Counter()
        self._to_close: list[_Open] = []
        # The number of open elements that say nothing.
        self._silent = 0
        # The markup since the last passage.
        self._kept: list[str] = []
        self._characters = 0
        # The texts and the inline tags since the last other tag.
        self._parts: list[Part] = []
        # The text since the last tag: as it is written, and with references resolved.
        self._written: list[str] = []
        self._resolved: list[str] = []
        # An inline element that is not translated, while it is open, and its source so far.
        self._atom: _Open | None = None
        self._atom_source: list[str] = []

    def read(self, token: Token) -> None:
        """Reads the next token."""
        source = (token.source if token.source is not None else token.data) or ""
        self._characters += len(source)
        if token.type in _TEXT:
            self._said.append("" if self._silent else token.data or "")
            if self._atom is not None:
                self._atom_source.append(source)
                return
            self._written.append(source)
            self._resolved.append(token.data or "")
            return
        self._end_text()
        if token.type is TokenType.START_TAG:
            self._start(token, source)
        elif token.type is TokenType.END_TAG:
            self._close(token, source)
        elif token.type is TokenType.COMMENT:
            if not source.endswith(("-->", "--!>") if source[:4] == "<!--" else ">"):
                raise UnclosedMarkup(f"the comment at {_place(token)} is not closed")
            self._add_part(Part(source, kind="mark"))
        else:
            self._part_texts(source)

    def end(self, source: str) -> Document:
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
        if self._to_close:
            element = self._to_close[-1]
            raise UnclosedMarkup(f"<{element.tag}> at {element.place} is not closed")
        lines = (SPACES.sub(" ", line).strip() for line in "".join(self._said).split(_PARAGRAPH))
        return Document(self._sections, "".join(self._kept), "\n".join(line for line in lines if line))

    def _end_text(self) -> None:
        if self._written:
            self._parts.append(Part("".join(self._written), "".join(self._resolved)))
            self._written, self._resolved = [], []

    def _add_part(self, part: Part) -> None:
        if self._atom is None:
            self._parts.append(part)
        else:
            self._atom_source.append(part.written)

    def _part_texts(self, source: str) -> None:
        """Keeps markup that is not within a sentence."""
        self._said.append(_PARAGRAPH)
        if self._atom is None:
            self._flush()
            self._kept.append(source)
        else:
            self._atom_source.append(source)

    def _start(self, token: Token, source: str) -> None:
        tag, attributes = token.tag or "", dict(token.attrs or [])
        if tag in VOID or token.self_closing:
            if tag == "br":
                self._said.append(_PARAGRAPH)
                self._add_part(Part(source, kind="break"))
            elif tag in ATOMIC:
                self._add_part(Part(source, kind="mark" if tag == "wbr" else "atom"))
            else:
                self._part_texts(source)
            return
        if tag in OPTIONAL_END and self._open and self._open[-1].tag == tag:
            # As in "<p>One<p>Two": the second one ends the first.
            if self._atom is None:
                self._flush()
            self._pop()
        parent = self._open[-1] if self._open else _Open("", "", True, False)
        wanted = attributes.get("translate")
        allowed = parent.is_translated if wanted is None else (wanted or "").lower() != "no"
        element = _Open(
            tag,
            _place(token),
            allowed and tag not in NOT_TRANSLATED,
            parent.is_preformatted or tag in PREFORMATTED,
            tag in INLINE and wanted is None,
            tag in NOT_SAID or (tag in CODE and parent.is_preformatted),
        )
        is_atom = tag in CODE or (tag in INLINE and not allowed)
        if self._atom is None and is_atom and parent.is_translated and not parent.is_preformatted:
            self._atom, self._atom_source = element, [source]
        elif element.is_inline:
            self._add_part(Part(source, kind="start", tag=tag))
        else:
            self._part_texts(source)
        self._open.append(element)
        self._counts[tag] += 1
        self._silent += element.is_silent
        if tag not in OPTIONAL_END:
            self._to_close.append(element)

    def _close(self, token: Token, source: str) -> None:
        tag = token.tag or ""
        if self._counts[tag] == 0:
            self._close_nothing(token, source)
            return
        element = self._open[-1]
        if element.tag == tag and element is self._atom:
            self._atom = None
            self._parts.append(Part("".join([*self._atom_source, source]), kind="atom"))
        elif element.tag == tag and element.is_inline:
            self._add_part(Part(source, kind="end", tag=tag))
        else:
            self._part_texts(source)
        while (element := self._pop()).tag != tag:
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(
                    f"<{element.tag}> at {element.place} is not closed before </{tag}> at {_place(token)}"
                )

    def _close_nothing(self, token: Token, source: str) -> None:
        # Browsers make elements of these two.
        if token.tag not in ("br", "p"):
            raise UnclosedMarkup(f"</{token.tag}> at {_place(token)} closes no element")
        self._part_texts(source)

    def _pop(self) -> _Open:
        element = self._open.pop()
        self._counts[element.tag] -= 1
        self._silent -= element.is_silent
        if element.tag not in OPTIONAL_END:
            self._to_close.pop()
        return element

    def _flush(self) -> None:
        """Ends the texts since the last tag that parts texts: one passage, or one for each text."""
        parts, self._parts = self._parts, []
        element = self._open[-1] if self._open else None
        if element is not None and not element.is_translated:
            self._kept += [part.written for part in parts]
            return
        if element is not None and element.is_preformatted:
            pieces = in_pieces(parts, _escaped, is_preformatted=True)
        else:
            pieces = arranged(parts, _escaped)
        for piece in pieces:
            if isinstance(piece, str):
                self._kept.append(piece)
            else:
                self._sections.append(_Sentence("".join(self._kept), piece))
                self._kept = []


def _place(token: Token) -> str:
    return f"line {token.line}, column {token.col + 1}"
