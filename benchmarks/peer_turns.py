"""Measures the systems of one model in turns, so that noise on the machine hits all of them alike."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.peer_models import Subject
from benchmarks.peer_process import Child, SystemFailed
from benchmarks.peer_results import Results, Row, Setting, with_ratios
from benchmarks.peer_systems import SYSTEMS
from slimseq.evaluation.fastest import Layout
from slimseq.models_store.manifest import GenerationOptions

MILLISECONDS_PER_SECOND = 1000.0
WARMUP_TOKENS = 4
# OpenMP's threads spin for up to 0.2 seconds after their work, on cores that the next system wants.
REST_SECONDS = 0.3
FAILED = (SystemFailed, OSError)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        systems: their names.
        batches: texts of a batch.
        beams: of the searches.
        repeats: how often each system is timed under a setting, at most.
        threads: of each system.
        baselines: systems that ratios are to.
        ends_at: when the budget is over, on `time.monotonic`'s clock; None lasts forever.
    """

    systems: Sequence[str]
    batches: Sequence[int]
    beams: Sequence[int]
    repeats: int
    threads: int
    baselines: Sequence[str]
    ends_at: float | None = None

    def settings(self, model: str) -> list[Setting]:
        """Returns a model's settings, those that take least memory first: what is kept of it counts for the next."""
        settings = [Setting(model, batch, beams) for beams in self.beams for batch in self.batches]
        return sorted(settings, key=lambda setting: setting.batch * setting.beams)

    def deadline(self, settings_left: int) -> float:
        """Returns when the next of so many settings has had its share of the budget."""
        now = time.monotonic()
        return float("inf") if self.ends_at is None else now + (self.ends_at - now) / settings_left


@dataclass
class Contender:
    """An open system with one layout, and what it was seen to do under the present setting."""

    system: str
    layout: Layout
    child: Child
    loaded_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def layout_name(self) -> str:
        """Generations at a time x threads of each."""
        return f"{self.layout.workers}x{self.layout.threads}"

    def warm(self, subject: Subject, setting: Setting) -> None:
        """Begins a setting: a few tokens, untimed."""
        self.seconds, self.first_seconds = [], []
        options = subject.options(setting.beams, min(WARMUP_TOKENS, subject.new_tokens))
        self._ask(subject.batch(setting.batch, 0), options, is_first=True)

    def take_turn(self, subject: Subject, setting: Setting, turn: int) -> None:
        """Generates a batch, and the first tokens of the same batch.

        Raises:
            SystemFailed: it does not generate, or not what all are to generate.
        """
        rows = subject.batch(setting.batch, turn)
        seconds, tokens = self._ask(rows, subject.options(setting.beams))
        if tokens != len(rows) * subject.new_tokens:
            raise SystemFailed(f"wrote {tokens} tokens instead of {len(rows)} x {subject.new_tokens}")
        self.seconds.append(seconds)
        self.first_seconds.append(self._ask(rows, subject.options(setting.beams, 1))[0])

    def _ask(self, rows: list[list[int]], options: GenerationOptions, is_first: bool = False) -> tuple[float, int]:
        answer = self.child.ask(rows=rows, options=options.model_dump(), is_first=is_first)
        self.peak_bytes = answer["peak_bytes"]
        return answer["seconds"], answer["tokens"]


def compare(subject: Subject, plan: Plan, results: Results, settings_left: int, say: Callable[[str], None]) -> None:
    """Adds a model's rows to the results; a system that fails is left out from there on.

    Args:
        subject: the model.
        plan: what to measure.
        results: added to.
        settings_left: how many settings share what is left of the budget, this model's among them.
        say: is told a line for each setting that is over, each system that is left out, and what comes next.
    """
    with ExitStack() as stack:
        contenders = _open(subject, plan, results, stack, say)
        for done, setting in enumerate(plan.settings(subject.name)):
            words = f"{setting.model}, batch {setting.batch}, beams {setting.beams}"
            deadline = plan.deadline(settings_left - done)
            _measure(subject, setting, contenders, plan, deadline, results, say)
            rows = with_ratios(_rows(subject, setting, contenders), plan.baselines)
            results.rows += rows
            best = max(rows, key=lambda row: row.tokens_per_second, default=None)
            fastest = f"{best.system} is fastest, {best.tokens_per_second:,.0f} tokens/s" if best else "nothing runs"
            say(f"{words}: {fastest}")


def _open(
    subject: Subject, plan: Plan, results: Results, stack: ExitStack, say: Callable[[str], None]
) -> list[Contender]:
    """Makes every system's files, then opens every system in processes of its own."""
    found: list[Contender] = []
    maker: Child | None = None
    for name in plan.systems:
        say(f"{subject.name}: {name} is made ready")
        try:
            if maker is None:
                maker = stack.enter_context(Child(subject.place))
                maker.begun()
            maker.ask(system=name)
        except FAILED as error:
            _leave_out(subject.name, name, error, results, say)
            # It may be gone, and what it has loaded may be broken.
            if maker is not None:
                maker.close()
            maker = None
    if maker is not None:
        maker.close()
    for name in plan.systems:
        if f"{subject.name}: {name}" in results.left_out:
            continue
        for layout in SYSTEMS[name].layouts(plan.threads):
            try:
                contender = Contender(name, layout, stack.enter_context(Child(subject.place, name, layout)))
                contender.loaded_bytes = contender.child.begun()["loaded_bytes"]
                found.append(contender)
            except FAILED as error:
                _leave_out(subject.name, name, error, results, say)
                found = [each for each in found if each.system != name]
                break
    return found


def _measure(
    subject: Subject,
    setting: Setting,
    contenders: list[Contender],
    plan: Plan,
    deadline: float,
    results: Results,
    say: Callable[[str], None],
) -> None:
    """Lets every contender take its turns, at least one; those that fail are taken from the list."""

    def attempt(contender: Contender, work: Callable[[], None]) -> None:
        if contender not in contenders:
            return
        try:
            work()
        except FAILED as error:
            _leave_out(subject.name, contender.system, error, results, say)
            for each in [each for each in contenders if each.system == contender.system]:
                each.child.close()
                contenders.remove(each)
        if plan.threads > 1:
            time.sleep(REST_SECONDS)

    for contender in list(contenders):
        attempt(contender, partial(contender.warm, subject, setting))
    for turn in range(plan.repeats):
        first = turn % max(len(contenders), 1)
        for contender in contenders[first:] + contenders[:first]:
            attempt(contender, partial(contender.take_turn, subject, setting, turn))
        if time.monotonic() >= deadline:
            break


def _leave_out(model: str, system: str, error: Exception, results: Results, say: Callable[[str], None]) -> None:
    results.left_out[f"{model}: {system}"] = str(error)
    say(f"{model}: {system} is left out: {error}")


def _rows(subject: Subject, setting: Setting, contenders: Sequence[Contender]) -> list[Row]:
    rows = []
    for system in dict.fromkeys(each.system for each in contenders):
        own = [each for each in contenders if each.system == system]
        tokens = setting.batch * subject.new_tokens
        layouts = {each.layout_name: tokens / float(np.median(each.seconds)) for each in own}
        best = max(own, key=lambda each: layouts[each.layout_name])
        milliseconds = np.array(best.seconds) * MILLISECONDS_PER_SECOND
        turns = range(len(best.seconds))
        read = [len(row) for turn in turns for row in subject.batch(setting.batch, turn)]
        rows.append(
            Row(
                setting=setting,
                system=system,
                layout=best.layout_name,
                layouts=layouts,
                repeats=len(best.seconds),
                input_tokens=float(np.mean(read)),
                new_tokens=subject.new_tokens,
                tokens_per_second=layouts[best.layout_name],
                p50_ms=float(np.median(milliseconds)),
                p95_ms=float(np.percentile(milliseconds, 95)),
                least_ms=float(milliseconds.min()),
                first_token_ms=float(np.median(best.first_seconds)) * MILLISECONDS_PER_SECOND,
                loaded_bytes=best.loaded_bytes,
                peak_bytes=best.peak_bytes,
            )
        )
    return rows
