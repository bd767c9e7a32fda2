"""`python -m benchmarks.output_warnings`: which share of outputs gets each warning, on a file of examples.

The outputs are the references of the file, which nearly always are right, or with `--generate` those of a variant. The
lengths of the references in relation to their sources are what the bounds of the check are chosen by.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, add_variant, measured_on, number, parser_of, record, run, table
from benchmarks.loads.load import HOST
from benchmarks.systems.servers import running, service
from slimseq.client import Client
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.examples import Example
from slimseq.evaluation.warnings.checks import Generated, output_warnings
from slimseq.evaluation.warnings.kinds import KINDS
from slimseq.evaluation.warnings.length import BY_CHANCE, characters
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BATCH = 32
SHARES = (0.0, 0.0005, 0.001, 0.5, 0.999, 0.9995, 1.0)


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Checks the references, or the outputs of a variant.

    Raises:
        SlimseqError: there is no such variant or file, or the service does not start.
    """
    task, variant = given.variant
    store = Store(given.store)
    examples = load_examples(task, given.data, samples=given.samples).examples
    found = (
        _of_outputs(store, task, variant, examples, scratch)
        if given.generate
        else _of_references(task, store.manifest(task, variant).languages, examples)
    )
    return record(
        artifact=f"{task}/{variant}",
        data=Path(given.data).name,
        is_generated=given.generate,
        outputs=len(examples),
        warned=sum(1 for each in found if each["warnings"]),
        kinds=Counter(kind for each in found for kind in each["warnings"]),
        lengths=_lengths(examples) if task is Task.TRANSLATION and not given.generate else None,
        found=[each for each in found if each["warnings"]],
    )


def _of_references(task: Task, languages: Sequence[str], examples: Sequence[Example]) -> list[Record]:
    found = []
    for each in examples:
        warnings = output_warnings(task, languages, each.source, [Generated(each.source, each.target)])
        found.append(_found(each.source, each.target, {warning.kind: warning.detail for warning in warnings}))
    return found


def _of_outputs(store: Store, task: Task, variant: str, examples: Sequence[Example], scratch: Path) -> list[Record]:
    found = []
    with running(service(store, task, variant), scratch) as server, Client(f"http://{HOST}:{server.port}") as client:
        call = client.translate if task is Task.TRANSLATION else client.summarize
        for start in range(0, len(examples), BATCH):
            sources = [each.source for each in examples[start : start + BATCH]]
            for source, output in zip(sources, call(sources, variant=variant).outputs, strict=True):
                found.append(_found(source, output.text, {each.kind: each.detail for each in output.warnings}))
    return found


def _found(source: str, output: str, warnings: dict[str, str]) -> Record:
    return {"source": source, "output": output, "warnings": warnings}


def _lengths(examples: Sequence[Example]) -> Record:
    """Returns quantiles of what the bounds of lengths are compared with."""
    pairs = [(characters(each.source), characters(each.target)) for each in examples]
    longer = sorted((after - BY_CHANCE) / before for before, after in pairs)
    shorter = sorted((after + BY_CHANCE) / before for before, after in pairs)
    return {str(share): [each[round(share * (len(each) - 1))] for each in (shorter, longer)] for share in SHARES}


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the kinds, and one of the lengths."""
    whose = found["artifact"] if found["is_generated"] else "references"
    rows = [
        [kind, number(count, 0), f"{100 * count / found['outputs']:.2f} %"]
        for kind in [*KINDS, "any"]
        if (count := found["warned"] if kind == "any" else found["kinds"].get(kind, 0)) or kind == "any"
    ]
    yield from table((f"{found['data']}, {whose}, {found['outputs']:,}", "outputs", "share"), rows)
    if found["lengths"]:
        rows = [[share, *(number(each, 3) for each in bounds)] for share, bounds in found["lengths"].items()]
        yield ""
        yield from table(("quantile", f"(output + {BY_CHANCE}) / source", f"(output - {BY_CHANCE}) / source"), rows)
    yield from ("", measured_on(found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("output_warnings", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--data", default=BUNDLED, help="a file of examples (%(default)s)")
    parser.add_argument("--samples", type=int, help="how many of them; all by default")
    parser.add_argument("--generate", action="store_true", help="checks outputs of the variant, not the references")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
