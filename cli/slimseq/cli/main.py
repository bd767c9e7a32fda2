"""`slimseq VERB …`: the list of verbs, and how errors end a command.

Exit code 1 means bad input, 2 a failed quality gate, and 130 Ctrl-C. A verb is imported when it is called, because
training libraries take seconds to import and `--help` must be fast. Ctrl-C ends a command with one line, even during an
import.
"""

import os
import signal
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from threading import Event
from traceback import walk_stack
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

# File name of the stack frames of an import.
IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
# Time after which an interruption during an import is tried again.
AGAIN_SECONDS = 0.02
SERVE, MAKE, MEASURE, KEEP = GROUPS = ("Serve", "Make variants", "Measure", "Keep a store")
# A verb's group, its function in this package and its line in the overview, in the order of a day's work.
VERBS: dict[str, tuple[str, str, str]] = {
    "serve": (SERVE, "serve:serve", "Serve the variants of a store over HTTP."),
    "deploy": (SERVE, "serve:deploy", "Write the file that serves a store on a cluster."),
    "keys": (SERVE, "keys:app", "Manage the keys of clients: add, list, revoke."),
    "generate": (SERVE, "generate:generate_command", "Translate or summarize a file of texts, on all cores."),
    "compress": (MAKE, "compress:compress_command", "Make a model smaller, and choose what keeps enough quality."),
    "import": (MAKE, "make:import_command", "Import a model, such as a T5, from a folder or a hub."),
    "build": (MAKE, "make:build_command", "Build and measure every variant of a recipe."),
    "export": (MAKE, "make:export_command", "Add ONNX or CTranslate2 files to a variant."),
    "prepare": (MAKE, "make:prepare_command", "Build the ONNX files and int8 variants of a store."),
    "train": (MAKE, "techniques:train", "Train a new model from text files, or train a variant further."),
    "prune": (MAKE, "techniques:prune", "Remove parts of a variant, then train it to recover."),
    "distill": (MAKE, "techniques:distill", "Train a smaller student on labels and on its teacher."),
    "average": (MAKE, "techniques:average", "Average a variant's weights with those from before its training."),
    "quantize": (MAKE, "techniques:quantize", "Store a variant in fewer bits."),
    "evaluate": (MEASURE, "measure:evaluate_command", "Measure the quality of variants."),
    "benchmark": (MEASURE, "measure:benchmark_command", "Measure the speed of variants."),
    "report": (MEASURE, "measure:report_command", "Write Markdown tables of what was measured."),
    "list": (KEEP, "keep:list_command", "List the artifacts of a store."),
    "verify": (KEEP, "keep:verify_command", "Check artifacts against their hashes."),
    "sign": (KEEP, "keep:sign_command", "Sign an artifact's files with a private key."),
    "rename": (KEEP, "keep:rename_command", "Give an artifact another name."),
    "remove": (KEEP, "keep:remove_command", "Remove an artifact from a store."),
}
HELP = "Compress T5 and BART models, and serve every variant side by side."
# The own package. If a module of it is missing, that is a bug. Any other missing module belongs to an extra.
OWN = "slimseq"
# Set when Ctrl-C has raised KeyboardInterrupt.
_was_interrupted = Event()


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        from slimseq.app.http.stopping import exit_on_signals_while_starting

        exit_on_signals_while_starting()
    # Another handler was chosen on purpose: by a shell that runs the command in the background, or by the service.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)
    try:
        run(sys.argv[1:])
    except KeyboardInterrupt:
        _stop()
    except Exception:
        # An extension module may replace a KeyboardInterrupt by an error of its own, as pydantic's does in a schema.
        if not _was_interrupted.is_set():
            raise
        _stop()


def _stop() -> NoReturn:
    """Ends the process after Ctrl-C. All blocks that write have ended, so a second Ctrl-C has nothing to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.write("stopped; nothing was left half-written\n")
    sys.stderr.flush()
    # After `sys.exit`, an interpreter that was interrupted in an `exec` would kill itself with the signal.
    os._exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt. During an import, tries again a moment later.

    The C++ code of an extension module may abort the process if its initialization is interrupted.
    """
    if any(each.f_code.co_filename == IMPORT_SYSTEM for each, _ in walk_stack(frame)):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        _was_interrupted.set()
        raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> None:
    """Runs a verb with its options. An error ends the process with one line and an exit code."""
    from cyclopts import CycloptsError

    from slimseq.compression.errors import GateFailed
    from slimseq.models_store.errors import SlimseqError
    from slimseq.models_store.places import pip_install

    arguments = _split_name(arguments)
    try:
        app = make_app(called=next(iter(arguments), ""))
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except GateFailed as error:
        _end(f"gate failed: {error}", 2)
    except SlimseqError as error:
        _end(f"error: {error}", 1)
    except CycloptsError as error:
        _end(f"error: {_complaint(error)}", 1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == OWN:
            raise
        _end(f"error: this needs {error.name}; install the offline side: {pip_install('compress')}", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(f"error: {place}{error.strerror or error}", 1)


def _split_name(arguments: Sequence[str]) -> list[str]:
    """Returns arguments in which `translation/original` is written `translation original`, as the verbs take them.

    The names of further variants lose their task.
    """
    from slimseq.models_store.manifest import Task

    if len(arguments) < 2 or arguments[0] in ("compress", "import", "build"):
        return list(arguments)
    verb, name, *others = arguments
    task, slash, variant = name.partition("/")
    if not slash or task not in {each.value for each in Task}:
        return list(arguments)
    return [verb, task, variant, *(each.removeprefix(f"{task}/") for each in others)]


def make_app(called: str | None = None) -> "App":
    """Returns the command line.

    Args:
        called: the verb to run, which its function's docstring explains; all others have only their line in the
            overview, and are not imported. None gives every verb its docstring.
    """
    from importlib.metadata import version

    from cyclopts import App, Group, Parameter

    from slimseq.compression.options import COMMON

    app = App(
        name="slimseq",
        help=f"{HELP} `slimseq VERB --help` explains a verb.",
        help_format="markdown",
        version=lambda: f"slimseq {version('slimseq')}",
        group_commands=Group("Other", sort_key=len(GROUPS)),
        group_parameters=COMMON,
        default_parameter=Parameter(negative_iterable=(), show_default=_shown),
        suppress_keyboard_interrupt=False,
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(GROUPS)}
    for place, (verb, (group, function, line)) in enumerate(VERBS.items()):
        help_line = None if called in (None, verb) else line
        app.command(f"slimseq.cli.{function}", name=verb, help=help_line, group=groups[group], sort_key=place)
    app.register_install_completion_command(help="Install completion for your shell (bash, zsh, fish or PowerShell).")
    return app


def _complaint(error: "CycloptsError") -> str:
    from cyclopts import MissingArgumentError, UnusedCliTokensError
    from pydantic import ValidationError

    from slimseq.models_store.json_record import first_error

    if isinstance(error, UnusedCliTokensError):
        return f"unexpected arguments: {' '.join(error.unused_tokens or ())}"
    if isinstance(error, MissingArgumentError) and error.keyword is None and error.argument is not None:
        return f"{error.argument.name} is missing; `slimseq {' '.join(error.command_chain or ())} --help` explains it"
    cause = error.__cause__
    return first_error(cause, "") if isinstance(cause, ValidationError) else str(error)


def _end(message: str, code: int) -> None:
    sys.stderr.write(f"{' '.join(message.split())}\n")
    sys.exit(code)


def _shown(default: Any) -> str | None:
    """Returns how `--help` shows a default. Empty values, `False` and folders of this machine are not shown."""
    if default is None or default is False or default in ("", (), {}) or isinstance(default, Path):
        return None
    return str(default.value) if isinstance(default, Enum) else str(default)
