"""`python -m benchmarks.faithful`: whether numbers, dates, addresses, code and tags come out as they went in.

Synthetic sentences are translated with and without protection, as the service does.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, make_parser, measured_on, record, run, table
from benchmarks.texts.faithful_sentences import FaithfulSentence, sentences
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import Prompt, plan, run_all
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

HELD_OUT_SEED = 20261128
BATCH_ROWS, MAX_ROWS = 16, 1_000_000


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    chosen = sentences(given.sentences, given.seed)
    with open_generator(Store(given.store), Task.TRANSLATION, given.variant, threads=1) as generator:
        if generator.manifest.languages != ["en", "de"]:
            raise BenchmarkFailed(f"translation/{given.variant} does not translate from English to German")
        found = {name: _count(generator, chosen, protect=name == "with") for name in ("with", "without")}
    return record(variant=given.variant, sentences=given.sentences, seed=given.seed, found=found)


def _count(generator: TextGenerator, chosen: Sequence[FaithfulSentence], *, protect: bool) -> Record:
    planned = plan(generator, Prompt([each.text for each in chosen], protect=protect), MAX_ROWS)
    passes = run_all(generator, planned, BATCH_ROWS)
    kinds: dict[str, Record] = {}
    wrong: list[Record] = []
    for sentence, output in zip(chosen, planned.assemble(passes.in_order), strict=True):
        counts = kinds.setdefault(sentence.kind, {"sentences": 0, "right": 0, "silent": 0})
        lost = sentence.lost(output.text)
        counts["sentences"] += 1
        counts["right"] += not lost
        counts["silent"] += bool(lost) and not output.lost
        if lost:
            wrong.append({"source": sentence.text, "output": output.text, "lost": lost, "said": output.lost})
    totals = {name: sum(counts[name] for counts in kinds.values()) for name in ("sentences", "right", "silent")}
    return {"kinds": kinds | {"all": totals}, "wrong": wrong, "repaired": passes.repaired}


def lines(found: Record) -> Iterator[str]:
    protected, plain = found["found"]["with"], found["found"]["without"]
    head = (f"translation/{found['variant']}", "sentences", "right without, %", "lost in silence", "with, %")
    rows = [
        [kind, str(counts["sentences"]), *_shares(plain["kinds"][kind]), *_shares(counts)]
        for kind, counts in protected["kinds"].items()
    ]
    yield from table((*head, "lost in silence"), rows)
    yield f"\n{protected['repaired']} sentences had further passes.\n"
    yield measured_on(found)


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
