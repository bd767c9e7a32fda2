"""The last line of a command: what to do next, with the command to copy."""

import shlex
import sys
from pathlib import Path

from compression.context import Context
from models_store.manifest import Manifest, Task
from models_store.places import default_store

# What the bundled sample is in: without a file of one's own, quality is measured on it.
SAMPLE_LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}


def command_line(context: Context, *words: str) -> str:
    """Returns a command on the context's store, as a shell takes it."""
    store = [] if context.store.root == default_store() else ["--store", str(context.store.root)]
    return shlex.join([_python(), "-m", "compression", *words, *store])


def _python() -> str:
    """Returns this interpreter as a user may have typed it: a virtual environment's in this folder by its path."""
    interpreter = Path(sys.executable)
    here = Path.cwd()
    return str(interpreter.relative_to(here)) if interpreter.is_relative_to(here) else "python"


def serving_line(context: Context) -> str:
    """Returns the command that serves the context's store."""
    store = "" if context.store.root == default_store() else f"SLIMSEQ_STORE={shlex.quote(str(context.store.root))} "
    return f"{store}{_python()} -m app"


def evaluate_next(context: Context, manifest: Manifest, data: str | None = None) -> str:
    """Returns how to measure an artifact's quality.

    Args:
        context: its store.
        manifest: the artifact's.
        data: a file to measure on; None takes the bundled sample where that is in the artifact's languages.
    """
    words = ["evaluate", manifest.task.value, manifest.variant, "--record"]
    if data is not None or manifest.languages != SAMPLE_LANGUAGES[manifest.task]:
        words += ["--data", data or "test.jsonl"]
    return f"Next, measure its quality, and have its manifest say it: {command_line(context, *words)}"
