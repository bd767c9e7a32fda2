"""`python -m benchmarks.loops`: how many outputs have a warning that is repaired, before and after the repair.

The texts make translators loop: lists, headlines, code, repeated words and long sentences. Of data sets, chrF is
measured before and after.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, make_parser, measured_on, record, run, table
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import score
from slimseq.inference.load import load
from slimseq.inference.text.warnings import is_repairable
from slimseq.models_store.manifest import Task

TEXTS = Path(__file__).parent / "texts" / "loops.txt"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    sections = TEXTS.read_text(encoding="utf-8").removeprefix("# ").split("\n# ")
    groups = [(kind, texts, list[str]()) for kind, *texts in map(str.splitlines, sections)]
    for data in given.data:
        examples = load_examples(Task.TRANSLATION, data).examples
        groups.append((Path(data).name, [each.source for each in examples], [each.target for each in examples]))
    found = []
    with load(given.store / Task.TRANSLATION / given.variant, threads=1) as model:
        for name, texts, references in groups:
            before = model.generate(texts, repair=False)
            places = [place for place, output in enumerate(before) if is_repairable(output.warnings)]
            again = dict(zip(places, model.generate([texts[place] for place in places]), strict=True))
            written = [[output.text for output in before], [again.get(*pair).text for pair in enumerate(before)]]
            scores = [score(Task.TRANSLATION, each, references)["chrf"].value for each in written if references]
            left = sum(is_repairable(each.warnings) for each in again.values())
            found.append([name, len(texts), len(places), left, *(f"{value:.3f}" for value in scores)])
    return record(variant=given.variant, found=found)


def lines(found: Record) -> Iterator[str]:
    head = (f"translation/{found['variant']}", "texts", "with a warning", "after", "chrF", "after")
    yield from table(head, ([str(each) for each in [*row, "", ""][:6]] for row in found["found"]))
    yield f"\n{measured_on(found)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("loops", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English")
    parser.add_argument("--data", nargs="*", default=[], help="data sets with references")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
