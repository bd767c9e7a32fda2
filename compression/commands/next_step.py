"""The last line of a command: what to do next, with the command to copy."""

import shlex

from compression.context import Context
from models_store.manifest import Manifest, Task
from models_store.places import default_store

# What the bundled sample is in: without a file of one's own, quality is measured on it.
SAMPLE_LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}


def command_line(context: Context, *words: str) -> str:
    """Returns a command on the context's store, as a shell takes it."""
    store = [] if context.store.root == default_store() else ["--store", str(context.store.root)]
    return shlex.join(["python", "-m", "compression", *words, *store])


def evaluate_next(context: Context, manifest: Manifest, data: str | None = None) -> str:
    """Returns how to measure an artifact's quality.

    Args:
        context: its store.
        manifest: the artifact's.
        data: a file to measure on; None takes the bundled sample where that is in the artifact's languages.
    """
    words = ["evaluate", manifest.task.value, manifest.variant]
    if data is not None or manifest.languages != SAMPLE_LANGUAGES[manifest.task]:
        words += ["--data", data or "test.jsonl"]
    return f"Next, measure its quality: {command_line(context, *words)}"
