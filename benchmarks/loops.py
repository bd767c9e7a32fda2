"""`python -m benchmarks.loops`: how many outputs have a warning that is repaired, before and after the repair.

The texts make translators loop: lists, headlines, code, repeated words and long sentences. Of data, chrF is measured
before and after.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, make_parser, measured_on, record, run, table
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import score
from slimseq.inference.load import Model, Output, load
from slimseq.inference.text.warnings import is_repairable
from slimseq.models_store.manifest import Task

TEXTS = Path(__file__).parent / "texts" / "loops.txt"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    found = []
    with load(given.store / Task.TRANSLATION / given.variant, threads=1) as model:
        for section in TEXTS.read_text(encoding="utf-8").removeprefix("# ").split("\n# "):
            kind, *texts = section.splitlines()
            found.append([kind, *_counts(model, texts)[0]])
        for data in given.data:
            examples = load_examples(Task.TRANSLATION, data, samples=given.samples).examples
            counts, outputs = _counts(model, [each.source for each in examples])
            references = [each.target for each in examples]
            chrf = [score(Task.TRANSLATION, [each.text for each in own], references)["chrf"].value for own in outputs]
            found.append([Path(data).name, *counts, *(f"{value:.3f}" for value in chrf)])
    return record(variant=given.variant, found=found)


def _counts(model: Model, texts: Sequence[str]) -> tuple[list[int], tuple[list[Output], list[Output]]]:
    """Returns the number of texts, of warnings before and after the repair, and the outputs before and after."""
    before = model.generate(texts, repair=False)
    places = [place for place, output in enumerate(before) if is_repairable(output.warnings)]
    again = dict(zip(places, model.generate([texts[place] for place in places]), strict=True))
    after = [again.get(place, output) for place, output in enumerate(before)]
    return [len(texts), len(places), sum(is_repairable(each.warnings) for each in after)], (before, after)


def lines(found: Record) -> Iterator[str]:
    head = (f"translation/{found['variant']}", "texts", "with a warning", "after", "chrF", "after")
    yield from table(head, ([str(each) for each in [*row, "", ""][:6]] for row in found["found"]))
    yield f"\n{measured_on(found)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("loops", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English")
    parser.add_argument("--data", nargs="*", default=[], help="data sets with references")
    parser.add_argument("--samples", type=int, help="the first ones of each data set")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
