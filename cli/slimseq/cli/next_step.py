"""The last line of a verb: what to do next, with the command to copy."""

import shlex
import shutil
import sys
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.places import default_store

# What the bundled sample is in: without a file of one's own, quality is measured on it.
SAMPLE_LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}


def command_line(context: Context, *words: str) -> str:
    """Returns a command on the context's store, as a shell takes it."""
    store = [] if context.store.root == default_store() else ["--store", str(context.store.root)]
    return shlex.join([*program(), *words, *store])


def program() -> list[str]:
    """Returns `slimseq` as a shell in this folder finds it."""
    script = Path(sys.executable).with_name("slimseq")
    if shutil.which("slimseq") == str(script):
        return ["slimseq"]
    if script.exists() and script.is_relative_to(Path.cwd()):
        return [str(script.relative_to(Path.cwd()))]
    return [sys.executable, "-m", "slimseq"]


def serving_line(context: Context) -> str:
    """Returns the command that serves the context's store."""
    store = "" if context.store.root == default_store() else f"SLIMSEQ_STORE={shlex.quote(str(context.store.root))} "
    return f"{store}{shlex.join(program())} serve"


def evaluate_next(context: Context, manifest: Manifest, data: str | None = None) -> str:
    """Returns how to measure an artifact's quality."""
    words = ["evaluate", manifest.task.value, manifest.variant, "--record"]
    if data is not None or manifest.languages != SAMPLE_LANGUAGES[manifest.task]:
        words += ["--data", data or "test.jsonl"]
    return f"Next, measure its quality and record it in the manifest: {command_line(context, *words)}"
