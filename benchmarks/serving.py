"""`python -m benchmarks.serving`: Slimseq's service under load, beside the servers that one would write instead.

Clients that wait for their answers, 1 to 64 of them, and requests that arrive as a Poisson process ask each server for
the same short and long texts, with the same settings and outputs of equal length: the running service, a transformers
server that generates one request at a time, and a CTranslate2 server that batches what waits; or, as `original`, the
service with the variant's original. They take turns, load by load; so do the service and its own runtime in process.
Load and server share the machine.

With `--shape`, the model is one of a hub's shape with random weights, in fp32 (`original`) and int8 (`quantized`): what
the service adds is the same, and what it serves is as large as what is served elsewhere.
"""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.command_line import end_on_termination, wide_console, write_json
from benchmarks.hub_shapes import publish_random
from benchmarks.measuring import (
    Plan,
    Watched,
    contending,
    measure,
    measure_beside,
    measure_contest,
    measure_mix,
    measure_soak,
)
from benchmarks.mix import LONG_TOKENS, SHORT_TOKENS
from benchmarks.peer_models import SHAPES
from benchmarks.servers.contenders import ORIGINAL, SERVERS, USUAL, Setup
from benchmarks.servers.process import ServerFailed
from benchmarks.serving_report import draw, show
from benchmarks.serving_results import Results
from benchmarks.workload import Lengths, Searching, workload
from slimseq.compression.context import Context
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.host import available_cores, bound_heaps
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import GenerationDefaults, Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

CLIENTS = (1, 4, 16, 32, 64)
TABLE_WIDTH = 110
# The most that models of a hub's shape read and write.
HUB_INPUT_TOKENS, HUB_NEW_TOKENS = 256, 256


def benchmark(given: argparse.Namespace, scratch: Path) -> Results:
    """Measures everything that a command line asks for; what cannot start is left out.

    Raises:
        SlimseqError: there is no such variant.
    """
    context = Context(hub_store(given.shape, scratch) if given.shape else Store(given.store))
    setup = Setup(
        store=context.store,
        task=given.task,
        variant=given.variant,
        scratch=scratch,
        threads=given.threads or available_cores(),
        compute_type=given.ctranslate2_type,
        workers=given.ctranslate2_workers,
        max_batch_size=given.ctranslate2_batch,
    )
    examples = load_examples(given.task, BUNDLED).examples
    searching = Searching(given.beams, given.early_stopping)
    asks = workload(setup.manifest, examples, Lengths(*given.tokens), searching)
    # Each variant searches in its own way, unless another is said.
    original_asks = workload(setup.original, examples, Lengths(*given.tokens), searching)
    plan = Plan(given.clients, given.seconds, given.share, asks)
    settings = {
        "tokens": given.tokens,
        "options": asks[0].options.model_dump(mode="json"),
        "seconds": given.seconds,
        "share": given.share,
        "threads": setup.threads,
    }
    results = Results(given.shape or given.task.value, given.variant, settings)
    names = [name for name in SERVERS if name in given.servers]
    with context.progress() as progress:
        total = len(names) * (len(plan.clients) + 1) if plan.clients else 0
        total += bool(plan.clients) and len(names) > 1
        total += ("slimseq" in names and bool(plan.clients)) + bool(given.mix) + bool(given.soak)
        watched = Watched(context, progress, progress.add_task("serving", total=total, status=""))
        with ExitStack() as stack:
            contenders = []
            for name in names if plan.clients else ():
                watched.began(f"{name} starts")
                try:
                    own = original_asks if name == ORIGINAL else plan.asks
                    contenders.append(stack.enter_context(contending(SERVERS[name](setup), scratch, own)))
                except ServerFailed as error:
                    results.left_out[name] = str(error)
                    context.say(f"{name} is left out: {error}")
            measure(contenders, plan, watched)
            results.servers = [contender.result for contender in contenders]
            if len(contenders) > 1:
                watched.began("in turns with each other")
                results.contest = measure_contest(contenders, plan)
                watched.ended(
                    "in turns with each other: measured" if results.contest else "no turns: one answers nothing"
                )
            for contender in contenders:
                if contender.result.name == "slimseq":
                    watched.began("in turns with its runtime in process")
                    results.in_process, results.beside = measure_beside(setup, plan, contender)
                    watched.ended(f"{results.beside.share:.2f} of the tokens/s of its runtime in process")
        if given.mix:
            watched.began("short texts beside long ones")
            lengths = Lengths(SHORT_TOKENS, LONG_TOKENS)
            mixed_asks = workload(setup.manifest, examples, lengths, searching)
            measure_mix(setup, names, mixed_asks, plan.seconds, results)
            watched.ended("short texts beside long ones: measured")
        if given.soak:
            watched.began(f"soak, {given.soak:.0f} seconds")
            try:
                results.soak = measure_soak(setup, plan, given.soak)
            except ServerFailed as error:
                results.left_out["soak"] = str(error)
            watched.ended("soak: over")
    return results


def hub_store(shape: str, scratch: Path) -> Store:
    """Makes a store with a random model of a hub's shape, as `translation/original` and `translation/quantized`."""
    from slimseq.compression.quantize.quantize import quantize

    generation = GenerationDefaults(max_input_tokens=HUB_INPUT_TOKENS, max_new_tokens=HUB_NEW_TOKENS)
    publish_random(*SHAPES[shape], scratch / "hub", generation)
    store = Store(scratch / "hub" / "store")
    quantize(Context(store), Task.TRANSLATION, "original")
    return store


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    # As the service's process, or its runtime in this one would be timed with other memory.
    bound_heaps()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="original")
    parser.add_argument("--store", type=Path, default=embedded_store())
    parser.add_argument("--shape", choices=list(SHAPES), default=None, help="a random model instead of the store's")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=USUAL)
    parser.add_argument("--clients", nargs="*", type=int, default=list(CLIENTS), help="none: no loads but what follows")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--share", type=float, default=0.8, help="of the first server's capacity that arrives")
    parser.add_argument("--tokens", nargs=2, type=int, default=(16, 64), help="of short and long outputs; 0: any")
    parser.add_argument("--beams", type=int, default=None, help="each variant's own by default")
    parser.add_argument(
        "--early-stopping",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether a search ends with its last beam that has finished; each variant's own way by default",
    )
    parser.add_argument("--threads", type=int, default=0, help="of each server; all cores by default")
    parser.add_argument("--ctranslate2-type", choices=["int8", "float32"], default=None)
    parser.add_argument("--ctranslate2-workers", type=int, default=0, help="as many as threads by default")
    parser.add_argument("--ctranslate2-batch", type=int, default=32, help="texts of one batch")
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS", help="keep the service under load")
    parser.add_argument("--mix", action="store_true", help="short texts while long ones run")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    parser.add_argument("--plot", type=Path, default=None, metavar="FILE.png")
    given = parser.parse_args(arguments)
    if given.shape and given.task is not Task.TRANSLATION:
        parser.error("--shape is a translator")
    if given.seconds <= 0 or given.share <= 0 or given.soak < 0 or any(count < 1 for count in given.clients):
        parser.error("--seconds, --share, --soak and --clients take numbers above 0")
    try:
        with tempfile.TemporaryDirectory(prefix="slimseq-serving-") as scratch:
            results = benchmark(given, Path(scratch))
    except SlimseqError as error:
        parser.exit(1, f"{error}\n")
    write_json(results, given.json)
    if given.plot:
        draw(results, given.plot)
    show(results, wide_console(TABLE_WIDTH))


if __name__ == "__main__":
    end_on_termination()
    main()
