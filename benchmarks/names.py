"""`python -m benchmarks.names`: whether names from more than thirty languages come out of translations as they went in.

Synthetic English sentences are translated by all translators of a store and by Firefox's to Portuguese, with and
without protection, as the service does.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, leaving_out, make_parser, measured_on, record, run, say, table
from benchmarks.texts.name_sentences import SPLITS, NameSentence, name_sentences
from benchmarks.translators import FIREFOX, firefox_files
from slimseq.inference.load import Model, load
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# The seed of the published figures. No rule of protection was written with a look at its sentences.
HELD_OUT_SEED = 20261201


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    chosen = name_sentences(given.split, given.sentences, given.seed)
    variants = given.variant or Store(given.store).variants(Task.TRANSLATION)
    folders = {name: given.store / Task.TRANSLATION / name for name in variants}
    found = record(split=given.split, sentences=given.sentences, seed=given.seed, left_out={}, found={})
    if not given.variant:
        with leaving_out(found, FIREFOX):
            folders[FIREFOX] = _import_firefox(scratch)
    for name, folder in folders.items():
        say(f"{name} translates {len(chosen)} sentences.")
        with load(folder, threads=1) as model:
            if model.manifest.languages[:1] != ["en"]:
                raise BenchmarkFailed(f"translation/{name} does not translate from English")
            found["found"][name] = {
                "languages": model.manifest.languages,
                "with": _count(model, chosen, protect=True),
                "without": _count(model, chosen, protect=False),
            }
    return found


def _import_firefox(scratch: Path) -> Path:
    from slimseq.compression.context import Context
    from slimseq.compression.importing.importing import ImportOptions, import_model

    import_model(Context(Store(scratch)), str(firefox_files()), ImportOptions(Task.TRANSLATION, FIREFOX))
    return scratch / Task.TRANSLATION / FIREFOX


def _count(model: Model, chosen: Sequence[NameSentence], *, protect: bool) -> Record:
    """Counts right translations, and those that are wrong without a warning (`silent`)."""
    outputs = model.generate([each.text for each in chosen], protect=protect)
    wrong: list[Record] = []
    for sentence, output in zip(chosen, outputs, strict=True):
        lost = sentence.lost(output.text)
        if lost:
            said = [each.detail for each in output.warnings if each.kind == "lost"]
            wrong.append({"source": sentence.text, "output": output.text, "lost": lost, "said": said})
    silent = sum(not each["said"] for each in wrong)
    return {"right": len(chosen) - len(wrong), "silent": silent, "wrong": wrong}


def lines(found: Record) -> Iterator[str]:
    total = found["sentences"]
    head = ("translation/", "right without", "lost in silence", "right with protection", "lost in silence")
    rows = []
    for name, counts in found["found"].items():
        pair = " to ".join(counts["languages"])
        rows.append([f"{name}, {pair}", *_figures(counts["without"], total), *_figures(counts["with"], total)])
    yield from table(head, rows)
    yield f"\n{total} sentences of {found['split']}, seed {found['seed']}. {measured_on(found)}"


def _figures(counts: Record, total: int) -> list[str]:
    return [f"{counts['right']} of {total}", str(counts["silent"])]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("names", __doc__)
    parser.add_argument("--variant", action="append", help="a translator from English; all by default, with Firefox's")
    parser.add_argument("--split", choices=SPLITS, default="test", help="the part of templates and names to take")
    parser.add_argument("--sentences", type=int, default=500, help="how many are made")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="of the sentences")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
