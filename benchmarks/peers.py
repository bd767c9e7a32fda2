"""`python -m benchmarks.peers`: our runtimes beside transformers, optimum's ONNX Runtime and plain CTranslate2.

All systems generate with the same weights, from the same inputs, outputs of the same length. Each is held open by a
process of its own, whose peak of memory is its own too; they take turns within every repeat, one at a time. Models are
random ones of `google-t5/t5-small`'s and `facebook/bart-base`'s shape, which read random ids, and the embedded ones,
which read the bundled texts.
"""

import argparse
import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.child import Child
from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run, say
from benchmarks.load import MILLISECONDS
from benchmarks.peer_systems import ORIGINAL, SYSTEMS, Place, generate, open_system, prepare_system
from benchmarks.random_models import HUB_SHAPES, SHAPES, publish_random
from benchmarks.sections import peers_section
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import available_cores
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import GenerationDefaults, Task
from slimseq.models_store.store import Store

EMBEDDED = tuple(task.value for task in Task)
WARMUP_TOKENS = 4
# OpenMP's threads spin for up to 0.2 seconds after their work, on cores that the next system wants.
REST_SECONDS = 0.3
# Special ids of both families are below.
FIRST_ID = 5


@dataclass(frozen=True)
class Subject:
    """A model, what it reads, settings that all systems follow but for beams, and how many tokens each output has."""

    name: str
    place: Place
    rows: list[list[int]]
    generation: GenerationDefaults
    new_tokens: int

    def batch(self, size: int, turn: int) -> list[list[int]]:
        """Returns the rows of a turn's batch, from the first again where there are no more."""
        start = turn * size % len(self.rows)
        return list(islice(cycle(self.rows), start, start + size))


@dataclass
class Contender:
    """An open system with one layout, and what it did under the present number of beams and size of batch."""

    system: str
    layout: Layout
    child: Child
    subject: Subject
    seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def warm(self, batch: int, beams: int) -> None:
        """Begins a setting: a few tokens, untimed."""
        self.seconds, self.first_seconds = [], []
        self._generate(self.subject.batch(batch, 0), beams, min(WARMUP_TOKENS, self.subject.new_tokens), is_first=True)

    def take_turn(self, batch: int, beams: int, turn: int) -> None:
        """Generates a batch, and the first tokens of the same batch."""
        rows = self.subject.batch(batch, turn)
        self.seconds.append(self._generate(rows, beams, self.subject.new_tokens))
        self.first_seconds.append(self._generate(rows, beams, 1, is_pinned=False))

    def tokens_per_second(self, batch: int) -> float:
        """Returns what it made, by the median turn."""
        return batch * self.subject.new_tokens / median(self.seconds)

    def _generate(
        self, rows: list[list[int]], beams: int, tokens: int, is_first: bool = False, is_pinned: bool = True
    ) -> float:
        options = self.subject.generation.options(num_beams=beams, min_new_tokens=tokens, max_new_tokens=tokens)
        seconds, made, self.peak_bytes = self.child.call(generate, rows, options, is_first)
        if is_pinned and made != len(rows) * tokens:
            raise BenchmarkFailed(f"wrote {made} tokens instead of {len(rows)} x {tokens}")
        return float(seconds)


def make_subject(name: str, folder: Path, given: argparse.Namespace) -> Subject:
    """Makes a model in a folder of its own: a random one of a shape, or a copy of a task's original.

    Raises:
        SlimseqError: there is no such model, or it cannot be made.
    """
    place = Place(folder, Task(name) if name in EMBEDDED else Task.TRANSLATION)
    generation, new_tokens, input_tokens = GenerationDefaults(), given.new_tokens, given.input_tokens
    if name in EMBEDDED:
        store = Store(given.store)
        generation = store.manifest(place.task, ORIGINAL).generation
        new_tokens = min(new_tokens, generation.max_new_tokens)
        formats = shutil.ignore_patterns(*DERIVED_FORMATS)
        shutil.copytree(store.folder(place.task, ORIGINAL), place.original, ignore=formats)
    else:
        with Child(folder / "make.log") as child:
            child.call(publish_random, name, folder)
    known = read_configuration(place.original)
    if known.max_positions is not None:
        input_tokens, new_tokens = min(input_tokens, known.max_positions), min(new_tokens, known.max_positions - 1)
    if name in EMBEDDED:
        tokenizer, limit = Tokenizer(place.original), generation.max_input_tokens
        texts = [generation.prefix + example.source for example in load_examples(place.task, BUNDLED).examples]
        rows = [tokenizer.encode(text, min(limit, known.max_positions or limit)).ids for text in texts]
    else:
        draw = random.Random(0).randrange
        rows = [
            [*(draw(FIRST_ID, known.vocabulary) for _ in range(input_tokens - 1)), known.eos_id]
            for _ in range(2 * max(given.batches))
        ]
    return Subject(name, place, rows, generation, new_tokens)


def benchmark(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures everything that a command line asks for; what cannot be made or fails is left out."""
    given.threads = given.threads or available_cores()
    names = ("models", "systems", "batches", "beams", "input_tokens", "new_tokens", "repeats", "threads")
    found = record(settings={name: getattr(given, name) for name in names}, rows=[], left_out={})
    # Those that take least memory first: what is kept of it counts for the next.
    settings = [(batch, beams) for beams in given.beams for batch in given.batches]
    settings.sort(key=lambda setting: setting[0] * setting[1])
    for name in given.models:
        folder = scratch / name.replace("/", "-")
        folder.mkdir()
        with ExitStack() as stack:
            try:
                subject = make_subject(name, folder, given)
            except (SlimseqError, OSError) as error:
                _leave_out(found, name, error)
                continue
            contenders = open_systems(subject, given, found, stack)
            for batch, beams in settings:
                measure(contenders, batch, beams, given, found)
                found["rows"] += rows_of(contenders, batch, beams)
                say(f"{name}, batch {batch}, beams {beams}: measured")
    return found


def open_systems(subject: Subject, given: argparse.Namespace, found: Record, stack: ExitStack) -> list[Contender]:
    """Makes every system's files, then opens every system in a process of its own for each layout."""
    prepared, contenders = [], []
    maker = Child(subject.place.folder / "prepare.log")
    for name in given.systems:
        try:
            maker.call(prepare_system, name, subject.place)
            prepared.append(name)
        except BenchmarkFailed as error:
            _leave_out(found, f"{subject.name}: {name}", error)
            # It may be gone, and what it has loaded may be broken.
            maker.close()
            maker = Child(subject.place.folder / "prepare.log")
    maker.close()
    for name in prepared:
        opened = []
        try:
            for layout in SYSTEMS[name].layouts(given.threads):
                log = subject.place.folder / f"{name}-{_words(layout)}.log"
                child = stack.enter_context(Child(log, layout.threads))
                child.call(open_system, name, subject.place, layout)
                opened.append(Contender(name, layout, child, subject))
        except BenchmarkFailed as error:
            _leave_out(found, f"{subject.name}: {name}", error)
        else:
            contenders += opened
    return contenders


def measure(contenders: list[Contender], batch: int, beams: int, given: argparse.Namespace, found: Record) -> None:
    """Lets every contender take its turns; those that fail are taken from the list."""

    def attempt(contender: Contender, work: Callable[..., None], *arguments: int) -> None:
        if contender not in contenders:
            return
        try:
            work(contender, batch, beams, *arguments)
        except BenchmarkFailed as error:
            _leave_out(found, f"{contender.subject.name}: {contender.system}", error)
            contenders[:] = [each for each in contenders if each.system != contender.system]
        if given.threads > 1:
            time.sleep(REST_SECONDS)

    for contender in list(contenders):
        attempt(contender, Contender.warm)
    for turn in range(given.repeats):
        first = turn % max(len(contenders), 1)
        for contender in contenders[first:] + contenders[:first]:
            attempt(contender, Contender.take_turn, turn)


def rows_of(contenders: Sequence[Contender], batch: int, beams: int) -> list[Record]:
    """Returns a row a system: its faster layout's figures."""
    rows = []
    for system in dict.fromkeys(each.system for each in contenders):
        own = [each for each in contenders if each.system == system]
        best = max(own, key=lambda each: each.tokens_per_second(batch))
        subject, turns = best.subject, range(len(best.seconds))
        rows.append(
            {
                "model": subject.name,
                "batch": batch,
                "beams": beams,
                "system": system,
                "layout": _words(best.layout),
                "layouts": {_words(each.layout): each.tokens_per_second(batch) for each in own},
                "repeats": len(turns),
                "input_tokens": float(np.mean([len(row) for turn in turns for row in subject.batch(batch, turn)])),
                "new_tokens": subject.new_tokens,
                "tokens_per_second": best.tokens_per_second(batch),
                "p50_ms": median(best.seconds) * MILLISECONDS,
                "p95_ms": float(np.percentile(best.seconds, 95)) * MILLISECONDS,
                "first_token_ms": median(best.first_seconds) * MILLISECONDS,
                "peak_bytes": best.peak_bytes,
            }
        )
    return rows


def _words(layout: Layout) -> str:
    return f"{layout.workers}x{layout.threads}"


def _leave_out(found: Record, name: str, error: Exception) -> None:
    found["left_out"][name] = str(error)
    say(f"{name} is left out: {error}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("peers", __doc__)
    models = [*HUB_SHAPES, *EMBEDDED]
    parser.add_argument("--models", nargs="+", choices=[*SHAPES, *EMBEDDED], default=models, help="tiny ones: to try")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32], help="texts of a batch")
    parser.add_argument("--beams", nargs="+", type=int, default=[1, 4], help="1 is greedy search")
    parser.add_argument("--input-tokens", type=int, default=256, help="of random inputs; texts are as they are")
    parser.add_argument("--new-tokens", type=int, default=64, help="of every output")
    parser.add_argument("--repeats", type=int, default=10, help="of each setting")
    parser.add_argument("--threads", type=int, default=0, help="of each system; all cores by default")
    run(parser, arguments, benchmark, peers_section)


if __name__ == "__main__":
    main()
