"""`python -m benchmarks.structure`: whether HTML and Markdown have the same structure after translation.

Documents are made by rule from own texts, and translated with a variant as the service does.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, make_parser, record, run, table
from benchmarks.texts.marked_documents import html_document, markdown_document
from benchmarks.texts.structures import Structure, html_structure, markdown_structure
from slimseq.inference.load import load
from slimseq.inference.text.plan import Format
from slimseq.models_store.manifest import Task

FORMATS: dict[Format, tuple[Callable[[int], str], Callable[[str], Structure]]] = {
    "html": (html_document, html_structure),
    "markdown": (markdown_document, markdown_structure),
}


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    formats = {}
    with load(given.store / Task.TRANSLATION / given.variant, threads=1) as model:
        for form, (document, structure) in FORMATS.items():
            different, untranslated = [], 0
            for seed in range(given.documents):
                source = document(seed)
                [output] = model.generate([source], format=form, repair=False, num_beams=1)
                untranslated += any(each.kind == "untranslated" for each in output.warnings)
                if structure(source) != structure(output.text):
                    different.append(seed)
            formats[form] = {"documents": given.documents, "different": different, "untranslated": untranslated}
    return record(variant=given.variant, formats=formats)


def lines(found: Record) -> Iterator[str]:
    rows = [
        [form, str(each["documents"]), str(each["documents"] - len(each["different"])), str(each["untranslated"])]
        for form, each in found["formats"].items()
    ]
    yield from table(["format", "documents", "structure equal", "with blocks that stayed as they were"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("structure", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English to German")
    parser.add_argument("--documents", type=int, default=50, help="of each format")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
