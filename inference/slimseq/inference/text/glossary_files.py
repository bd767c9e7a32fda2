"""Reads glossaries from files: CSV with two columns, whose first line names the languages, or TBX (ISO 30042)."""

import csv
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import MAX_FILE_TERMS, Glossary, Terms
from slimseq.inference.text.language import base_language
from slimseq.models_store.errors import SlimseqError

SUFFIXES = (".csv", ".tbx")
MAX_BYTES = 16 * 1024 * 1024
# The parser holds the interpreter for a piece: about a millisecond.
PIECE_BYTES = 64 * 1024
# Values of the term note `administrativeStatus` of terms that nobody should write.
_UNWANTED = ("deprecated", "superseded")

# The terms of a concept, by language.
Concept = dict[str, list[str]]


class UnusableGlossary(SlimseqError):
    """Raised when the file of a glossary cannot be read, is too large, or contradicts itself. Says where."""


def read_glossary_file(path: Path) -> Glossary:
    """Reads a glossary: `NAME.csv` for one pair of languages, `NAME.tbx` for each pair of its languages.

    Of the terms for a concept, all are found, and the first one that is not deprecated is written.

    Raises:
        UnusableGlossary: the file is not such a glossary.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnusableGlossary(f"{path.name} is larger than {MAX_BYTES:,} bytes")
        is_csv = path.suffix.lower() == ".csv"
        concepts = list(_csv_concepts(path) if is_csv else _tbx_concepts(path.read_bytes()))
        languages = list(dict.fromkeys(language for concept in concepts for language in concept))
        pairs = [(languages[0], languages[1])] if is_csv else list(permutations(languages, 2))
    except (OSError, UnicodeError, csv.Error, expat.ExpatError) as error:
        raise UnusableGlossary(f"{path.name}: {error}") from error
    most = MAX_FILE_TERMS // max(1, len(pairs) // 2)
    terms: dict[tuple[str, str] | None, Terms | InvalidPrompt] = {
        pair: _of_pair(concepts, *pair, most, path.name) for pair in pairs
    }
    if not any(isinstance(each, Terms) for each in terms.values()):
        raise UnusableGlossary(str(next(iter(terms.values()), f"{path.name} has no terms in two languages")))
    return Glossary(terms, path.stem)


def _of_pair(concepts: Sequence[Concept], source: str, target: str, most: int, name: str) -> Terms | InvalidPrompt:
    pairs = (
        (term, concept[target][0]) for concept in concepts if concept.get(target) for term in concept.get(source, ())
    )
    try:
        terms = Terms(pairs, most, name)
    except InvalidPrompt as error:
        return error
    return terms if len(terms) else InvalidPrompt(f"{name} has no terms from {source} to {target}")


def _csv_concepts(path: Path) -> Iterator[Concept]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        separator = next((each for each in "\t;" if each in head), ",")
        languages = [base_language(code.strip()) for code in head.split(separator)]
        if len(languages) != 2 or not all(code.isalpha() for code in languages) or languages[0] == languages[1]:
            raise UnusableGlossary(f"{path.name}: the first line has to name two languages, such as en,de")
        for line, row in enumerate(csv.reader(file, delimiter=separator), 2):
            if any(map(str.strip, row)):
                if len(row) != len(languages):
                    raise UnusableGlossary(f"{path.name}: row {line} has {len(row)} columns, not {len(languages)}")
                yield {language: [term] for language, term in zip(languages, row, strict=True)}


def _tbx_concepts(content: bytes) -> Iterator[Concept]:
    root = _parse(content)
    for entry in root.iter():
        if entry.tag in ("termEntry", "conceptEntry"):
            concept: Concept = {}
            for section in (each for each in entry if each.tag in ("langSet", "langSec")):
                own = concept.setdefault(base_language(section.get("lang", "")), [])
                for group in section:
                    notes = [note.text or "" for note in group.iter("termNote")]
                    term = next(group.iter("term"), None)
                    if term is not None and not any(note.startswith(_UNWANTED) for note in notes):
                        own.append("".join(term.itertext()))
            yield concept


def _parse(content: bytes) -> ElementTree.Element:
    """Parses XML without entities of its own and without other files. Names have no namespaces."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(_local(tag), {_local(name): value for name, value in attributes.items()})

    def refuse(*declared: Any) -> None:
        raise UnusableGlossary(f"the file declares the entity {str(declared[0])[:40]!r}; entities are not read")

    parser.StartElementHandler, parser.EndElementHandler = start, lambda tag: builder.end(_local(tag))
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse
    for begin in range(0, len(content), PIECE_BYTES):
        parser.Parse(content[begin : begin + PIECE_BYTES], False)
    parser.Parse(b"", True)
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(":")[2]
