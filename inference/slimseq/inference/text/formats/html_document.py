"""HTML for translation: its texts, and the same HTML with other texts in their place.

turbohtml reads tokens, `_Reader` keeps the stack of open elements, and `passages` makes sentences of texts and inline
tags. A sentence with inline tags, such as "The <b>red</b> house", is one passage. Other tags separate texts.

Tags, comments and attributes (also `alt` and `title`) are kept byte for byte. Elements that hold code, and those with
`translate="no"`, are not translated. HTML with an element that is not closed is rejected. End tags that the HTML
standard makes optional may be left out.
"""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import turbohtml
from turbohtml import Token, TokenType

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.errors import UnclosedMarkup
from slimseq.inference.text.formats.document import MAX_PIECES, Document, Section, Written, check_pieces
from slimseq.inference.text.formats.passages import (
    InlinePart,
    Kind,
    Passage,
    find_passages,
    separate_passages,
    with_single_spaces,
)

# Elements without an end tag. https://html.spec.whatwg.org/multipage/syntax.html#void-elements
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
# Elements whose end tag may be left out. https://html.spec.whatwg.org/multipage/syntax.html#optional-tags
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
# Void elements that are a part of a sentence. `wbr`, a place where a line may break, has no width of its own.
ATOMIC = frozenset({"img", "input", "embed", "wbr"})
# The text of these elements is not read by a reader of the page, so summaries leave it out.
NOT_SAID = RAW | {"head", "template", "svg", "math", "textarea", "select"}
# In these elements, line breaks are part of the text. Elsewhere they are spaces.
PREFORMATTED = frozenset({"pre", "listing"})
# Elements whose tags are within sentences. https://html.spec.whatwg.org/multipage/text-level-semantics.html
INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "del", "dfn", "em", "font", "i", "ins", "mark", "q", "s"),
        *("small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u"),
    }
)
# Characters that the tokenizer reads at once, which holds the interpreter lock: a few milliseconds.
WINDOW_CHARACTERS = 50_000
# Separates paragraphs in the plain text while it is read: a control character that HTML does not allow in texts.
_PARAGRAPH = "\x1e"


@dataclass
class _Element:
    """An open element, and what holds for its text.

    `place` is where its start tag is, for errors. The text of a silent element is left out of summaries: scripts, and
    code within `pre`.
    """

    tag: str = ""
    place: str = ""
    is_translated: bool = True
    is_preformatted: bool = False
    is_inline: bool = False
    is_silent: bool = False


def read_html(source: str, most: int = MAX_PIECES) -> Document:
    """Splits HTML into markup and texts.

    Raises:
        MarkupTooComplex: it has more pieces of markup than `most`.
        UnclosedMarkup: an element, tag or comment is not closed, or an end tag closes nothing. Names the place.
    """
    # The tokenizer would replace line ends too. They are replaced here, so that its tokens add up to the length of the
    # source. If they do not, `finish` knows that a tag is not closed.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tokenizer = turbohtml.Tokenizer(resolve_references=False, capture_source=True)
    reader = _Reader()
    for start in range(0, len(source), WINDOW_CHARACTERS):
        for token in tokenizer.feed(source[start : start + WINDOW_CHARACTERS]):
            reader.read(token, most)
    for token in tokenizer.close():
        reader.read(token, most)
    return reader.finish(source)


class _Reader:
    """Reads tokens into sections, with the stack of open elements."""

    def __init__(self) -> None:
        self._sections: list[Section] = []
        # The text without markup.
        self._plain: list[str] = []
        self._open = [_Element()]
        # How many elements of each tag are open.
        self._open_tags: Counter[str] = Counter()
        # The markup since the last passage.
        self._kept: list[str] = []
        # Characters of the source, and pieces of markup, that were read.
        self._characters = 0
        self._pieces = 0
        # The texts and the inline tags since the last other tag.
        self._parts: list[InlinePart[str]] = []
        # An inline element that is not translated, while it is open, and its source so far.
        self._atom: _Element | None = None
        self._atom_source: list[str] = []

    def read(self, token: Token, most: int) -> None:
        self._pieces += 1
        check_pieces(self._pieces, most)
        source = (token.source if token.source is not None else token.data) or ""
        self._characters += len(source)
        if token.type in (TokenType.TEXT, TokenType.CHARACTER_REFERENCE):
            text = token.data or ""
            if not self._open[-1].is_silent:
                self._plain.append(text)
            self._add_inline(source, "text", text=text)
        elif token.type is TokenType.START_TAG:
            self._read_start(token, source)
        elif token.type is TokenType.END_TAG:
            self._read_end(token, source)
        elif token.type is TokenType.COMMENT:
            # Comments that do not begin with "<!--" are called bogus comments by the standard, such as "<?xml ?>".
            ends = ("-->", "--!>") if source.startswith("<!--") else (">",)
            if not source.endswith(ends):
                raise UnclosedMarkup(f"the comment at {_place(token)} is not closed")
            self._add_inline(source, "mark")
        else:
            self._add_separator(source)

    def finish(self, source: str) -> Document:
        """Returns the document of a source whose tokens were all read."""
        self._end_paragraph()
        if self._characters < len(source):
            # The tokenizer returns no token for a tag that does not end.
            line = source.count("\n", 0, self._characters) + 1
            column = self._characters - source.rfind("\n", 0, self._characters)
            raise UnclosedMarkup(f"the tag at line {line}, column {column} is not closed with '>'")
        for element in reversed(self._open[1:]):
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(f"<{element.tag}> at {element.place} is not closed")
        paragraphs = (with_single_spaces(text).strip() for text in "".join(self._plain).split(_PARAGRAPH))
        return Document(self._sections, "".join(self._kept), "\n".join(filter(None, paragraphs)), self._pieces)

    def _add_inline(self, source: str, kind: Kind, tag: str = "", text: str = "") -> None:
        """Adds a part of a sentence. Within an atom, only its source is kept."""
        if self._atom is None:
            self._parts.append(InlinePart([source], text, kind, tag))
        else:
            self._atom_source.append(source)

    def _add_separator(self, source: str) -> None:
        """Keeps markup that is not within a sentence."""
        self._plain.append(_PARAGRAPH)
        if self._atom is None:
            self._end_paragraph()
            self._kept.append(source)
        else:
            self._atom_source.append(source)

    def _read_start(self, token: Token, source: str) -> None:
        tag, attributes = token.tag or "", dict(token.attrs or [])
        if tag in VOID or token.self_closing:
            if tag == "br":
                self._plain.append(_PARAGRAPH)
                self._add_inline(source, "break")
            elif tag in ATOMIC:
                self._add_inline(source, "mark" if tag == "wbr" else "atom")
            else:
                self._add_separator(source)
            return
        if tag in OPTIONAL_END and self._open[-1].tag == tag:
            # As in "<p>One<p>Two": the second element ends the first one.
            if self._atom is None:
                self._end_paragraph()
            self._pop()
        parent = self._open[-1]
        translate = attributes.get("translate")
        is_allowed = parent.is_translated if translate is None else translate.lower() != "no"
        element = _Element(
            tag,
            _place(token),
            is_translated=is_allowed and tag not in NOT_TRANSLATED,
            is_preformatted=parent.is_preformatted or tag in PREFORMATTED,
            is_inline=tag in INLINE and translate is None,
            is_silent=parent.is_silent or tag in NOT_SAID or (tag in CODE and parent.is_preformatted),
        )
        is_atom = tag in CODE or (tag in INLINE and not is_allowed)
        if self._atom is None and is_atom and parent.is_translated and not parent.is_preformatted:
            self._atom, self._atom_source = element, [source]
        elif element.is_inline:
            self._add_inline(source, "start", tag)
        else:
            self._add_separator(source)
        self._open.append(element)
        self._open_tags[tag] += 1

    def _read_end(self, token: Token, source: str) -> None:
        tag = token.tag or ""
        if self._open_tags[tag] == 0:
            # Browsers make an empty element of </br> and of </p>, as the standard says.
            if tag not in ("br", "p"):
                raise UnclosedMarkup(f"</{tag}> at {_place(token)} closes no element")
            self._add_separator(source)
            return
        element = self._open[-1]
        if element.tag == tag and element is self._atom:
            self._atom = None
            self._add_inline("".join([*self._atom_source, source]), "atom")
        elif element.tag == tag and element.is_inline:
            self._add_inline(source, "end", tag)
        else:
            self._add_separator(source)
        # The end tags of the elements within were left out, which is allowed for some.
        element = self._pop()
        while element.tag != tag:
            if element.tag not in OPTIONAL_END:
                raise UnclosedMarkup(
                    f"<{element.tag}> at {element.place} is not closed before </{tag}> at {_place(token)}"
                )
            element = self._pop()

    def _pop(self) -> _Element:
        element = self._open.pop()
        self._open_tags[element.tag] -= 1
        return element

    def _end_paragraph(self) -> None:
        """Finds the passages in the texts since the last tag that separates texts."""
        parts = self._parts
        self._parts = []
        element = self._open[-1]
        if not element.is_translated:
            self._kept += [source for part in parts for source in part.markup]
            return
        find = separate_passages if element.is_preformatted else find_passages
        for piece in find(parts, lambda text: html.escape(text, quote=False)):
            if isinstance(piece, str):
                self._kept.append(piece)
            else:
                self._sections.append(Section([piece], partial(_write, "".join(self._kept), piece)))
                self._kept = []


def _write(before: str, passage: Passage[str], translations: Sequence[TextOutput]) -> Written:
    return Written(before + "".join(passage.fill(*translations)))


def _place(token: Token) -> str:
    return f"line {token.line}, column {token.col + 1}"
