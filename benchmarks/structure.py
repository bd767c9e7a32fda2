"""`python -m benchmarks.structure`: whether HTML and Markdown have the same structure after translation.

Documents are made by rule from own texts, and translated with a variant as the service does.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, add_variant, parser_of, record, run, table
from benchmarks.texts.marked_documents import html_document, markdown_document
from benchmarks.texts.structures import Structure, html_structure, markdown_structure
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import DocumentOutput, Format, Prompt, plan, run_all
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

FORMATS: dict[Format, tuple[Callable[[int], str], Callable[[str], Structure]]] = {
    "html": (html_document, html_structure),
    "markdown": (markdown_document, markdown_structure),
}
MAX_ROWS = 100_000
BATCH_ROWS = 16


def translated(generator: TextGenerator, text: str, form: Format) -> DocumentOutput:
    """Returns the translation of a document."""
    planned = plan(generator, Prompt([text], {"num_beams": 1}, format=form), MAX_ROWS)
    [document] = planned.assemble(run_all(generator, planned, BATCH_ROWS).in_order)
    assert isinstance(document, DocumentOutput)
    return document


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Translates documents of each format."""
    task, variant = given.variant
    if task is not Task.TRANSLATION:
        raise BenchmarkFailed(f"{task}/{variant} does not translate; name a translator")
    formats = {}
    # Two threads take twice the CPU time for rows as short as these.
    with open_generator(Store(given.store), task, variant, "onnxruntime", threads=1) as generator:
        for form, (document, structure) in FORMATS.items():
            different, untranslated = [], 0
            for seed in range(given.documents):
                source = document(seed)
                output = translated(generator, source, form)
                untranslated += len(output.untranslated)
                if structure(source) != structure(output.text):
                    different.append(seed)
            formats[form] = {"documents": given.documents, "different": different, "untranslated": untranslated}
    return record(artifact=f"{task}/{variant}", formats=formats)


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the formats."""
    rows = [
        [form, str(each["documents"]), str(each["documents"] - len(each["different"])), str(each["untranslated"])]
        for form, each in found["formats"].items()
    ]
    yield from table(["format", "documents", "structure equal", "blocks that stayed as they were"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = parser_of("structure", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--documents", type=int, default=50, help="of each format")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
