"""`python -m benchmarks.faithful`: whether numbers, dates, addresses, code and tags come out as they went in.

Synthetic sentences are translated with and without protection, as the service does. With `--data`, the sentences of a
file too: what protection does to BLEU and to speed where there is little to protect.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, add_variant, measured_on, number, parser_of, record, run, table
from benchmarks.texts.faithful_sentences import FaithfulSentence, sentences
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import score
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.plan import Prompt, plan, run_all
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BATCH_ROWS = 16
MAX_ROWS = 1_000_000
# Turns with and without protection, of which the fastest counts.
TURNS = 3
HELD_OUT_SEED = 20261128


@dataclass(frozen=True)
class Translated:
    """Translations, the CPU time that they took, and how many further rows protection needed, of so many sentences."""

    outputs: list[TextOutput]
    cpu_seconds: float
    further_rows: int
    repaired: int


def translated(generator: TextGenerator, texts: Sequence[str], *, protect: bool) -> Translated:
    """Translates texts as the service does."""
    started = time.process_time()
    planned = plan(generator, Prompt(list(texts), protect=protect), MAX_ROWS)
    passes = run_all(generator, planned, BATCH_ROWS)
    outputs = planned.assemble(passes.in_order)
    return Translated(outputs, time.process_time() - started, passes.further_rows, passes.repaired)


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Translates the sentences, and the file."""
    task, variant = given.variant
    store = Store(given.store)
    if task is not Task.TRANSLATION or store.manifest(task, variant).languages != ["en", "de"]:
        raise BenchmarkFailed(f"{task}/{variant} does not translate from English to German")
    chosen = sentences(given.sentences, given.seed)
    # Several threads wait for each other, which counts as CPU time.
    with open_generator(store, task, variant, threads=1) as generator:
        found = {name: _faithful(generator, chosen, protect=name == "with") for name in ("with", "without")}
        data = [_on_file(generator, name, given.samples) for name in given.data]
    return record(artifact=f"{task}/{variant}", sentences=given.sentences, seed=given.seed, found=found, data=data)


def _faithful(generator: TextGenerator, chosen: Sequence[FaithfulSentence], *, protect: bool) -> Record:
    done = translated(generator, [each.text for each in chosen], protect=protect)
    kinds: dict[str, Record] = {}
    wrong: list[Record] = []
    for sentence, output in zip(chosen, done.outputs, strict=True):
        counts = kinds.setdefault(sentence.kind, {"sentences": 0, "right": 0, "silent": 0})
        lost = sentence.lost(output.text)
        counts["sentences"] += 1
        counts["right"] += not lost
        counts["silent"] += bool(lost) and not output.lost
        if lost:
            wrong.append({"source": sentence.text, "output": output.text, "lost": lost, "said": output.lost})
    return {"kinds": kinds, "wrong": wrong, "repaired": done.repaired, "further_rows": done.further_rows}


def _on_file(generator: TextGenerator, name: str, samples: int | None) -> Record:
    examples = load_examples(Task.TRANSLATION, name, samples=samples).examples
    sources, targets = [each.source for each in examples], [each.target for each in examples]
    best: dict[bool, Translated] = {}
    for _ in range(TURNS):
        for protect in (True, False):
            done = translated(generator, sources, protect=protect)
            if protect not in best or done.cpu_seconds < best[protect].cpu_seconds:
                best[protect] = done
    figures = {
        ("with" if protect else "without"): {
            "bleu": score(Task.TRANSLATION, [each.text for each in done.outputs], targets).metrics["bleu"].value,
            "cpu_seconds": done.cpu_seconds,
        }
        for protect, done in best.items()
    }
    return {
        "name": Path(name).name,
        "samples": len(examples),
        "repaired": best[True].repaired,
        "further_rows": best[True].further_rows,
        **figures,
    }


def lines(found: Record) -> Iterator[str]:
    """Yields a table by kind, and one of the files."""
    rows = []
    protected, plain = found["found"]["with"], found["found"]["without"]
    for kind, counts in protected["kinds"].items():
        rows.append([kind, str(counts["sentences"]), *_shares(plain["kinds"][kind]), *_shares(counts)])
    totals = [
        {name: sum(counts[name] for counts in each["kinds"].values()) for name in ("sentences", "right", "silent")}
        for each in (plain, protected)
    ]
    rows.append(["all", str(totals[0]["sentences"]), *_shares(totals[0]), *_shares(totals[1])])
    head = (found["artifact"], "sentences", "right without, %", "lost in silence", "right with, %", "lost in silence")
    yield from table(head, rows)
    yield f"\n{protected['repaired']} sentences had further passes, of {protected['further_rows']} rows.\n"
    if found["data"]:
        columns = ("file", "samples", "BLEU without", "with", "CPU s without", "with", "ratio", "further rows")
        yield from table(columns, map(_file_row, found["data"]))
        yield ""
    yield measured_on(found)


def _shares(counts: Record) -> list[str]:
    return [number(100 * counts["right"] / counts["sentences"], 1), str(counts["silent"])]


def _file_row(each: Record) -> list[str]:
    plain, protected = each["without"], each["with"]
    return [
        each["name"],
        str(each["samples"]),
        number(plain["bleu"], 2),
        number(protected["bleu"], 2),
        number(plain["cpu_seconds"], 1),
        number(protected["cpu_seconds"], 1),
        number(protected["cpu_seconds"] / plain["cpu_seconds"], 3),
        str(each["further_rows"]),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("faithful", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--sentences", type=int, default=500, help="how many are made")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="of the sentences")
    parser.add_argument("--data", action="append", default=[], metavar="FILE", help="compares BLEU and CPU time too")
    parser.add_argument("--samples", type=int, help="how many examples of each file; all by default")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
