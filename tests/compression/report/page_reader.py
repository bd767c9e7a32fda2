"""Reads a report's page: tables with their rows' names, cells' numbers, plots and addresses."""

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


@dataclass
class Plot:
    """One plot: its description, the names in it, and the places of its circles."""

    description: str
    names: list[str]
    circles: list[tuple[float, float]]


class Page:
    """A parsed page."""

    def __init__(self, text: str) -> None:
        document = html.document_fromstring(text)
        for style in document.iter("style"):
            style.text = ""
        self.text: str = document.text_content()
        self.tables = [_read_table(each) for each in document.iter("table")]
        self.plots = [_read_plot(each) for each in document.iter("svg")]
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


def _read_plot(element: Any) -> Plot:
    names = element.xpath("g[starts-with(@class, 'series')]/text/text()")
    return Plot(
        element.get("aria-label"),
        names,
        [(float(each.get("cx")), float(each.get("cy"))) for each in element.iter("circle")],
    )
