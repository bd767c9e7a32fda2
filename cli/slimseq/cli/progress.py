"""Progress of long work: bars on a terminal, and a plain line every few seconds if the output is piped.

A line has no control codes. It says what is running, how much of it is done, its rate, the time left, and its status.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, Task, TextColumn, TimeRemainingColumn

from slimseq.compression.context import every

# Seconds between two lines: often enough to see progress, and rarely enough for a log.
LINE_SECONDS = 5.0

# The display of the outermost block. Inner blocks add their tasks to it.
_ACTIVE: ContextVar[Progress | None] = ContextVar("active", default=None)


@contextmanager
def progress_on(console: Console, line_seconds: float = LINE_SECONDS) -> Iterator[Progress]:
    """Yields a display. Tasks that are added to it show counts, the time left and their `status` field.

    Inside the block of another display, the same display is yielded, and the tasks of the inner block are removed at
    its end.
    """
    active = _ACTIVE.get()
    if active is not None and active.console is console:
        before = set(active.task_ids)
        try:
            yield active
        finally:
            for task in set(active.task_ids) - before:
                active.remove_task(task)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    display = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    token = _ACTIVE.set(display)
    try:
        with display if console.is_terminal else _lines(display, line_seconds):
            yield display
    finally:
        _ACTIVE.reset(token)


def line_of(task: Task) -> str:
    """Returns a task's progress as one line, such as `Recovering: 120 of 1,000 steps, 4.1 steps/s, 0:03:35 left`."""
    elapsed = task.elapsed or 0.0
    unit = str(task.fields.get("unit", ""))
    done = f"{task.completed:,.0f}" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}"
    # What a resumed task had done before does not count for its rate.
    rate = (task.completed - task.fields.get("resumed_at", 0)) / elapsed if elapsed else 0.0
    parts = [f"{done} {unit}".rstrip()] if task.completed or (task.total or 0) > 1 else []
    if rate and unit != "s":
        parts.append(f"{rate:,.1f} {unit}/s" if unit else f"{rate:,.1f}/s")
    left = (task.total - task.completed) / rate if task.total is not None and rate else None
    parts.append(f"{clock(elapsed)} elapsed" if left is None else f"{clock(left)} left")
    status = str(task.fields.get("status", ""))
    if status:
        parts.append(status)
    return f"{task.description}: {', '.join(parts)}"


def clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def _lines(display: Progress, line_seconds: float) -> Iterator[None]:
    """Prints a line about the innermost task every few seconds, from a thread: also in the middle of one long step."""

    def print_line() -> None:
        running = [task for task in display.tasks if not task.finished]
        if running:
            display.console.print(line_of(running[-1]), highlight=False, markup=False, soft_wrap=True)

    with every(line_seconds, print_line):
        yield
