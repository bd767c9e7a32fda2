"""The command line: `slimseq VERB …`. Exit code 1 is bad input, 2 a failed quality gate.

Verbs are imported when they are called: what trains needs seconds to import, and `--help` should not.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from slimseq.compression.errors import GateFailed
from slimseq.compression.technique import technique_named, technique_names
from slimseq.models_store.errors import SlimseqError

# Verb and its line in the overview, in the order of a day's work.
VERBS = {
    "import": "Import a T5 or BART from a folder or a hub as an artifact.",
    "train": "Train a base model from text files, or a variant further.",
    "prune": "Remove parts of a variant, and let it recover.",
    "distill": "Train a smaller student on labels and on its teacher.",
    "average": "Average a variant's weights with those that it was trained on from.",
    "quantize": "Store a variant in fewer bits.",
    "beams": "Give a variant's search the fewest beams that lose nothing on dev data.",
    "build": "Build every variant that a recipe names, measure it, and apply its gates.",
    "export": "Add ONNX or CTranslate2 files to a variant.",
    "prepare": "Build what derives from the artifacts in the store: ONNX and int8.",
    "evaluate": "Measure the quality of variants on the same samples in the same run.",
    "benchmark": "Measure the speed of variants, interleaved in the same run.",
    "report": "Write the report: tables, plots and examples, and the README's table.",
    "verify": "Check artifacts against their hashes.",
    "sign": "Sign an artifact's files with a private key.",
    "list": "List the artifacts in the store.",
    "remove": "Remove an artifact from the store.",
    "rename": "Give an artifact another name.",
}
# The exit code of what Ctrl-C ended, as shells know it.
STOPPED = 130
# What is missing of these is a bug, and not an extra that was not installed.
OWN = "slimseq"
# A technique that has no line above is a verb all the same.
VERBS |= {name: f"Apply the technique `{name}`." for name in technique_names() if name not in VERBS}


class Verbs(TyperGroup):
    """The verbs: those that the overview lists are names and lines, the one that is called is imported."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns the verbs' names."""
        return list(VERBS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Returns a verb's name and line."""
        return _command(cmd_name, _nothing, VERBS[cmd_name]) if cmd_name in VERBS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:  # type: ignore[override]
        """Imports the verb that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _command(name, _function_of(name)) if name else command, rest


app = typer.Typer(
    name="slimseq",
    cls=Verbs,
    help="Compress T5 and BART models into artifacts that Slimseq serves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _whole() -> None:
    """Compress T5 and BART models into artifacts that Slimseq serves."""


def main() -> None:
    """Runs the command line, turning what may go wrong into one line and an exit code.

    Raises:
        KeyboardInterrupt: it was stopped with Ctrl-C.
    """
    try:
        app()
    except GateFailed as error:
        sys.stderr.write(f"gate failed: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except SlimseqError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == OWN:
            raise
        sys.stderr.write(f"error: this needs {error.name}; install the offline side: pip install 'slimseq[compress]'\n")
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}\n")
        sys.exit(1)
    except SystemExit as ended:
        # Typer turns Ctrl-C into this code, without a word.
        if ended.code == STOPPED:
            raise KeyboardInterrupt from None
        raise


def _command(name: str, function: Callable[..., None], line: str | None = None) -> Any:
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, help=line)(function)
    return typer.main.get_command(single)


def _nothing() -> None:
    """Stands for a verb in the overview."""


def _function_of(verb: str) -> Any:
    if verb in technique_names():
        from slimseq.compression.commands.technique_command import command_of

        return command_of(technique_named(verb))
    module = importlib.import_module(f"slimseq.compression.commands.{'import_' if verb == 'import' else verb}")
    return getattr(module, f"{verb}_command")
