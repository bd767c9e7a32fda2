"""Reads a report's page: tables with their rows' names, cells' numbers, images and addresses."""

from dataclasses import dataclass
from typing import Any

from lxml import html  # type: ignore[import-untyped]


@dataclass
class Row:
    """One row of a table: the text of every cell, and the exact values of each cell's numbers."""

    texts: list[str]
    numbers: list[list[float]]


@dataclass
class Table:
    """One table. Attributes are those of its element; rows are those of its body, by the first cell's text."""

    attributes: dict[str, str]
    caption: str
    head: list[str]
    rows: dict[str, Row]


class Page:
    """A parsed page."""

    def __init__(self, text: str) -> None:
        document = html.document_fromstring(text)
        for style in document.iter("style"):
            style.text = ""
        self.text: str = document.text_content()
        self.tables = [_read_table(each) for each in document.iter("table")]
        self.images: list[dict[str, str]] = [dict(each.attrib) for each in document.iter("img")]
        self.addresses: list[str] = document.xpath("//@src | //@srcset | //@href")

    def table(self, name: str, **attributes: str) -> Table:
        """Returns the only table of a class and with `data-` attributes."""
        wanted = {"class": name} | {f"data-{key}": value for key, value in attributes.items()}
        [table] = [each for each in self.tables if wanted.items() <= each.attributes.items()]
        return table


def _read_table(element: Any) -> Table:
    rows = [
        Row(
            [" ".join(cell.text_content().split()) for cell in row],
            [[float(number.get("value")) for number in cell.iter("data")] for cell in row],
        )
        for row in element.xpath("tbody/tr")
    ]
    head = [cell.text_content() for cell in element.xpath("thead//th")]
    return Table(
        dict(element.attrib), "".join(element.xpath("string(caption)")), head, {row.texts[0]: row for row in rows}
    )
