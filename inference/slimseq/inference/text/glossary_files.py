"""Reads glossaries from files: CSV with a term and its target in each line, or TBX (ISO 30042) of two languages."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import MAX_FILE_TERMS, Glossary

MAX_BYTES = 16 * 1024 * 1024
# Bytes that are parsed at once, which holds the interpreter for about a millisecond.
PIECE_BYTES = 64 * 1024
# Beginnings of the `administrativeStatus` of terms that nobody should write.
_UNWANTED = ("deprecated", "superseded")


def read_glossary_file(path: Path) -> Glossary:
    """Reads a file, `NAME.csv` or `NAME.tbx`. The first language of a TBX file is the source language.

    Raises:
        InvalidPrompt: the file is not a glossary, is too large, or contradicts itself.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidPrompt(f"is larger than {MAX_BYTES:,} bytes")
        pairs = _csv_pairs(path) if path.suffix.lower() == ".csv" else _tbx_pairs(path)
        glossary = Glossary(pairs, MAX_FILE_TERMS)
        if not len(glossary):
            raise InvalidPrompt("has no terms in two languages")
    except (OSError, ValueError, LookupError, csv.Error, expat.ExpatError, InvalidPrompt) as error:
        # Of an `OSError`, only the reason is given: its text has the whole path. A `ValueError` or `LookupError` is
        # about the encoding.
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidPrompt(f"{path.name}: {reason}") from error
    return glossary


def _csv_pairs(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Longer lines are cut into pieces: they have no term and target that are short enough.
        for line, row in enumerate(csv.reader(iter(partial(file.readline, PIECE_BYTES), ""), strict=True), 1):
            if any(map(str.strip, row)):
                if len(row) != 2:
                    raise InvalidPrompt(f"line {line} has {len(row)} columns, not a term and its target")
                yield row[0], row[1]


def _tbx_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yields each term of a concept with the first one of the other language that is not deprecated."""
    languages: list[str] = []
    for entry in _parse(path.read_bytes()).iter():
        if entry.tag not in ("termEntry", "conceptEntry"):
            continue
        terms = _terms_of_concept(entry)
        languages += [language for language in terms if language not in languages]
        if len(languages) > 2:
            raise InvalidPrompt(f"has the languages {', '.join(languages)}; a glossary has two")
        if len(terms) < 2 or not all(terms.values()):
            continue
        source, target = languages
        for term in terms[source]:
            yield term, terms[target][0]


def _terms_of_concept(entry: ElementTree.Element) -> dict[str, list[str]]:
    """Returns the terms of a concept that are not deprecated, by language. A language may have none."""
    terms: dict[str, list[str]] = {}
    for section in entry:
        if section.tag not in ("langSet", "langSec"):
            continue
        found = terms.setdefault(section.get("xml:lang", ""), [])
        for group in section:
            notes = [note.text or "" for note in group.iter("termNote")]
            if not any(note.startswith(_UNWANTED) for note in notes):
                found += ["".join(each.itertext()) for each in group.iter("term")]
    return terms


def _parse(content: bytes) -> ElementTree.Element:
    """Parses XML that declares no entities. No other file is read."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

    def refuse(name: str, *_: object) -> None:
        raise InvalidPrompt(f"declares the entity {name[:40]!r}; entities are not read")

    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse
    for begin in range(0, len(content) + 1, PIECE_BYTES):
        parser.Parse(content[begin : begin + PIECE_BYTES], begin + PIECE_BYTES > len(content))
    return builder.close()
