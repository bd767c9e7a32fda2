"""The command line: `slimseq VERB …`. Exit code 1 is bad input, 2 a failed quality gate.

A verb is imported when it is called: what trains needs seconds to import, and `--help` should not.
"""

import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from slimseq.compression.errors import GateFailed
from slimseq.compression.techniques import TECHNIQUES
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.places import own_store_only_if_used

# A verb's group, its function and its line in the overview.
Verb = tuple[str, str, str]

SERVE, MAKE, MEASURE, KEEP = GROUPS = ("Serve", "Make variants", "Measure", "Keep a store")
ROOM = "slimseq.compression"
VERBS: Mapping[str, Verb] = {
    "import": (
        MAKE,
        f"{ROOM}.importing.importing:command",
        "Import a model, such as a T5, from a folder or a hub.",
    ),
    **{name: (MAKE, f"{module}:command", line) for name, (module, line) in TECHNIQUES.items()},
    "build": (MAKE, f"{ROOM}.build.command:command", "Build and measure every variant of a recipe."),
    "export": (MAKE, f"{ROOM}.export.command:command", "Add ONNX or CTranslate2 files to a variant."),
    "prepare": (MAKE, f"{ROOM}.prepare:command", "Build the ONNX files and int8 variants of a store."),
    "evaluate": (MEASURE, f"{ROOM}.measure.evaluate:command", "Measure the quality of variants."),
    "calibrate-confidence": (
        MEASURE,
        f"{ROOM}.measure.calibrate_confidence:command",
        "Fit the confidence of translations on dev data.",
    ),
    "comet": (MEASURE, f"{ROOM}.measure.comet:command", "Record COMET scores computed in another environment."),
    "benchmark": (MEASURE, f"{ROOM}.measure.benchmark:command", "Measure the speed of variants."),
    "report": (MEASURE, f"{ROOM}.report.command:command", "Write a report with tables, plots and examples."),
    "list": (KEEP, f"{ROOM}.artifacts.command:list_command", "List the artifacts of a store."),
    "verify": (KEEP, f"{ROOM}.artifacts.command:verify_command", "Check artifacts against their hashes."),
    "sign": (KEEP, f"{ROOM}.artifacts.command:sign_command", "Sign an artifact's files with a private key."),
    "rename": (KEEP, f"{ROOM}.artifacts.command:rename_command", "Give an artifact another name."),
    "remove": (KEEP, f"{ROOM}.artifacts.command:remove_command", "Remove an artifact from a store."),
}
HELP = "Compress T5 and BART models, and serve every variant side by side."
# What is missing of these is a bug, and not an extra that was not installed.
OWN = "slimseq"


def run(arguments: Sequence[str] | None = None, more_verbs: Mapping[str, Verb] | None = None) -> None:
    """Runs the command line, turning what may go wrong into one line and an exit code.

    Args:
        arguments: verb and options; None takes those of the process.
        more_verbs: verbs beside those of the offline side.

    Raises:
        KeyboardInterrupt: it was stopped with Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    app = make_app({**(more_verbs or {}), **VERBS}, called=next(iter(arguments), ""))
    try:
        with own_store_only_if_used():
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
        _end(f"error: this needs {error.name}; install the offline side: pip install 'slimseq[compress]'", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(f"error: {place}{error.strerror or error}", 1)


def make_app(verbs: Mapping[str, Verb] = VERBS, called: str | None = None) -> App:
    """Returns the command line.

    Args:
        verbs: its verbs.
        called: the verb to run, which its function's docstring explains; all others have only their line in the
            overview, and are not imported. None gives every verb its docstring.
    """
    app = App(
        name="slimseq",
        help=f"{HELP} `slimseq VERB --help` explains a verb.",
        help_format="markdown",
        version=_version,
        group_commands=Group("Other", sort_key=len(GROUPS)),
        group_parameters=Group("Options", sort_key=0),
        default_parameter=Parameter(negative_iterable=(), show_default=_shown),
        suppress_keyboard_interrupt=False,
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(GROUPS)}
    for place, (verb, (group, function, line)) in enumerate(verbs.items()):
        help_line = None if called in (None, verb) else line
        app.command(function, name=verb, help=help_line, group=groups[group], sort_key=place)
    app.register_install_completion_command(help="Install completion for your shell (bash, zsh, fish or PowerShell).")
    return app


def _version() -> str:
    from importlib.metadata import version

    return f"slimseq {version('slimseq')}"


def _complaint(error: CycloptsError) -> str:
    """Returns what is wrong with the arguments, on one line also where pydantic found it."""
    from pydantic import ValidationError

    from slimseq.models_store.record import first_error

    if isinstance(error, UnusedCliTokensError):
        return f"unexpected arguments: {' '.join(error.unused_tokens or ())}"
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
