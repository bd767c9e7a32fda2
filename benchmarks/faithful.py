"""`python -m benchmarks.faithful`: whether numbers, dates, addresses, code and tags come out as they went in.

Synthetic sentences are translated with and without protection, as the service does.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, make_parser, measured_on, record, run, table
from benchmarks.texts.faithful_sentences import FaithfulSentence, sentences
from slimseq.inference.load import Model, load
from slimseq.models_store.manifest import Task

# The seed of the published figures. No rule of protection was written with a look at its sentences.
HELD_OUT_SEED = 20261128


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    chosen = sentences(given.sentences, given.seed)
    with load(given.store / Task.TRANSLATION / given.variant, threads=1) as model:
        if model.manifest.languages != ["en", "de"]:
            raise BenchmarkFailed(f"translation/{given.variant} does not translate from English to German")
        found = {name: _count(model, chosen, protect=name == "with") for name in ("with", "without")}
    return record(variant=given.variant, sentences=given.sentences, seed=given.seed, found=found)


def _count(model: Model, chosen: Sequence[FaithfulSentence], *, protect: bool) -> Record:
    """Counts right translations by kind, and those that are wrong without a warning (`silent`)."""
    outputs = model.generate([each.text for each in chosen], protect=protect, warnings=False)
    kinds: dict[str, Record] = {}
    wrong: list[Record] = []
    for sentence, output in zip(chosen, outputs, strict=True):
        counts = kinds.setdefault(sentence.kind, {"sentences": 0, "right": 0, "silent": 0})
        lost = sentence.lost(output.text)
        counts["sentences"] += 1
        if not lost:
            counts["right"] += 1
            continue
        if not output.lost:
            counts["silent"] += 1
        wrong.append({"source": sentence.text, "output": output.text, "lost": lost, "said": output.lost})
    totals = {name: sum(counts[name] for counts in kinds.values()) for name in ("sentences", "right", "silent")}
    return {"kinds": kinds | {"all": totals}, "wrong": wrong}


def lines(found: Record) -> Iterator[str]:
    protected, plain = found["found"]["with"], found["found"]["without"]
    head = (f"translation/{found['variant']}", "sentences", "right without, %", "lost in silence", "with, %")
    rows = [
        [kind, str(counts["sentences"]), *_shares(plain["kinds"][kind]), *_shares(counts)]
        for kind, counts in protected["kinds"].items()
    ]
    yield from table((*head, "lost in silence"), rows)
    yield f"\n{measured_on(found)}"


def _shares(counts: Record) -> list[str]:
    return [f"{100 * counts['right'] / counts['sentences']:.1f}", str(counts["silent"])]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("faithful", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English to German")
    parser.add_argument("--sentences", type=int, default=500, help="how many are made")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="of the sentences")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
