"""`python -m benchmarks.peers`: our runtimes beside transformers, optimum's ONNX Runtime and plain CTranslate2.

All systems generate with the same weights, from the same inputs, outputs of the same length. Each is held open by a
process of its own, whose peak of memory is its own too; they take turns within every repeat, one at a time. Models are
random ones of `google-t5/t5-small`'s and `facebook/bart-base`'s shape, and the embedded ones.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.command_line import end_on_termination, wide_console, write_json
from benchmarks.peer_models import DEFAULT_MODELS, TINY, make_subject
from benchmarks.peer_process import SystemFailed
from benchmarks.peer_results import Results, Row
from benchmarks.peer_systems import SYSTEMS
from benchmarks.peer_turns import Plan, compare
from slimseq.compression.context import Context
from slimseq.evaluation.host import available_cores
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

BASELINES = ("transformers-fp32", "optimum-int8", "ctranslate2-int8")
TABLE_WIDTH = 160


def benchmark(given: argparse.Namespace, scratch: Path) -> Results:
    """Measures everything that a command line asks for; what cannot be made or fails is left out."""
    context = Context(Store(given.store))
    plan = Plan(
        systems=given.systems,
        batches=given.batches,
        beams=given.beams,
        repeats=given.repeats,
        threads=given.threads or available_cores(),
        baselines=given.baselines,
        ends_at=None if given.budget_seconds is None else time.monotonic() + given.budget_seconds,
    )
    names = ("models", "systems", "batches", "beams", "input_tokens", "new_tokens", "repeats", "budget_seconds")
    results = Results({name: getattr(given, name) for name in (*names, "baselines")} | {"threads": plan.threads})
    each_model = len(plan.batches) * len(plan.beams)
    tokens, rows = (given.input_tokens, given.new_tokens), 2 * max(plan.batches)
    for place, name in enumerate(given.models):
        folder = scratch / name.replace("/", "-")
        folder.mkdir()
        try:
            subject = make_subject(name, folder, context.store, tokens, rows)
        except (SystemFailed, SlimseqError, OSError) as error:
            results.left_out[name] = str(error)
            context.say(f"{name} is left out: {error}")
            continue
        compare(subject, plan, results, each_model * (len(given.models) - place), context.say)
    return results


def show(results: Results, console: Console) -> None:
    """Prints a table for each model and number of beams, and what all were taken on."""
    kinds = dict.fromkeys((row.setting.model, row.setting.beams) for row in results.rows)
    for model, beams in kinds:
        rows = [row for row in results.rows if (row.setting.model, row.setting.beams) == (model, beams)]
        console.print(_table(f"{model}, {'greedy' if beams == 1 else f'{beams} beams'}", rows))
    for name, reason in results.left_out.items():
        console.print(f"{name} is left out: {reason}", highlight=False, markup=False, soft_wrap=True)
    lines = (
        "layout: generations at a time x threads of each; ratios: times as fast, by medians; peak bytes, first token "
        "and minima are in the JSON",
        f"{results.host} ({' '.join(results.cpu_flags)}), {results.settings['threads']} threads",
        ", ".join(f"{name} {version}" for name, version in results.versions.items()),
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, rows: Sequence[Row]) -> Table:
    baselines = list(dict.fromkeys(name for row in rows for name in row.ratios))
    columns = ("batch", "system", "layout", "tokens/s", "p50 ms", "p95 ms", "first token ms", "peak MB", "repeats")
    shown = Table(*columns, *("by\n" + name.replace("-", "-\n", 1) for name in baselines), title=title)
    shown.columns[1].no_wrap = True
    ordered = sorted(rows, key=lambda row: row.setting.batch)
    for row, after in zip(ordered, [*ordered[1:], None], strict=True):
        shown.add_row(
            str(row.setting.batch),
            row.system,
            row.layout,
            f"{row.tokens_per_second:,.0f}",
            *(f"{value:,.1f}" for value in (row.p50_ms, row.p95_ms, row.first_token_ms)),
            f"{row.peak_bytes / 1e6:,.0f}",
            str(row.repeats),
            *(f"{row.ratios[name].medians:.2f}" if name in row.ratios else "-" for name in baselines),
            end_section=after is not None and after.setting.batch != row.setting.batch,
        )
    return shown


def _above_zero(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if number <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return number

    return read


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    models = [*DEFAULT_MODELS, *TINY]
    count = _above_zero(int)
    parser.add_argument("--models", nargs="+", choices=models, default=list(DEFAULT_MODELS), help="tiny ones: to try")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--baselines", nargs="+", choices=list(SYSTEMS), default=list(BASELINES), help="of ratios")
    parser.add_argument("--batches", nargs="+", type=count, default=[1, 8, 32], help="texts of a batch")
    parser.add_argument("--beams", nargs="+", type=count, default=[1, 4], help="1 is greedy search")
    parser.add_argument("--input-tokens", type=count, default=256, help="of random inputs; texts are as they are")
    parser.add_argument("--new-tokens", type=count, default=64, help="of every output")
    parser.add_argument("--repeats", type=count, default=10, help="of each setting, at most")
    parser.add_argument("--threads", type=int, default=0, help="of each system; all cores by default")
    parser.add_argument(
        "--budget-seconds",
        type=_above_zero(float),
        default=None,
        help="settings share it; past its share, each is measured once",
    )
    parser.add_argument("--store", type=Path, default=embedded_store(), help="holds the embedded models")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="slimseq-peers-") as scratch:
        results = benchmark(given, Path(scratch))
    write_json(results, given.json)
    show(results, wide_console(TABLE_WIDTH))


if __name__ == "__main__":
    end_on_termination()
    main()
