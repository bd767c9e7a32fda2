"""The command line: `python -m compression VERB …`. Exit code 1 is bad input, 2 a failed quality gate."""

import sys

import typer

from compression.commands.benchmark import benchmark_command
from compression.commands.distill import distill_command
from compression.commands.evaluate import evaluate_command
from compression.commands.export import export_command
from compression.commands.import_ import import_command
from compression.commands.list import list_command
from compression.commands.prepare import prepare_command
from compression.commands.prune import prune_command
from compression.commands.quantize import quantize_command
from compression.commands.train import train_command
from compression.commands.verify import verify_command
from models_store.errors import SlimseqError

app = typer.Typer(
    name="python -m compression",
    help="Compress T5 and BART models into artifacts that Slimseq serves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("import")(import_command)
app.command("train")(train_command)
app.command("prune")(prune_command)
app.command("distill")(distill_command)
app.command("quantize")(quantize_command)
app.command("export")(export_command)
app.command("prepare")(prepare_command)
app.command("evaluate")(evaluate_command)
app.command("benchmark")(benchmark_command)
app.command("verify")(verify_command)
app.command("list")(list_command)


def main() -> None:
    """Runs the command line, turning what may go wrong into one line and an exit code."""
    try:
        app()
    except SlimseqError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
