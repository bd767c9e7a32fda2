"""Reads a report's page as a browser would: tables with their rows' names, cells' numbers, images and addresses."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "img", "source", "br", "hr", "link", "input"})


@dataclass
class Row:
    """One row of a table: the text of every cell, and the exact values of each cell's numbers."""

    texts: list[str] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)


@dataclass
class Table:
    """One table. Attributes are those of its element; rows are those of its body, by the first cell's text."""

    attributes: dict[str, str | None]
    caption: str = ""
    head: list[str] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)


class Page(HTMLParser):
    """A parsed page; refuses elements that are not closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._row: Row | None = None
        self.feed(text)
        self.close()
        assert not self._open

    def table(self, name: str, **attributes: str) -> Table:
        """Returns the only table of a class and with `data-` attributes."""
        wanted = {"class": name} | {f"data-{key}": value for key, value in attributes.items()}
        [table] = [each for each in self.tables if wanted.items() <= each.attributes.items()]
        return table

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.addresses += [attributes[name] or "" for name in ("src", "srcset", "href") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag == "table":
            self.tables.append(Table(attributes))
        if tag == "tr" and "tbody" in self._open:
            self._row = Row()
        if tag in ("td", "th") and self._row is not None:
            self._row.texts.append("")
            self._row.numbers.append([])
        if tag == "data" and self._row is not None:
            self._row.numbers[-1].append(float(attributes["value"] or ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "tr" and self._row is not None:
            self._row.texts = [text.strip() for text in self._row.texts]
            self.tables[-1].rows[self._row.texts[0]] = self._row
            self._row = None

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self._open else ""
        if self._row is not None and self._row.texts:
            self._row.texts[-1] = re.sub(r"\s+", " ", self._row.texts[-1] + data).lstrip()
        elif "caption" in self._open:
            self.tables[-1].caption += data
        elif "thead" in self._open and "th" in self._open:
            self.tables[-1].head.append(data)
