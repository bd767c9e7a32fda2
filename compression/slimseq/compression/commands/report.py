"""`report`: the page with tables, plots and examples, and the README's tables, from the manifests of a store."""

from pathlib import Path
from typing import Annotated

import typer

from slimseq.compression.commands.options import StoreOption, print_line, reading_context
from slimseq.models_store.manifest import Task


def report_command(
    tasks: Annotated[
        list[Task] | None, typer.Argument(help="Tasks; none means all in the store.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write report.html and its plots to; an earlier report is replaced."),
    ] = None,
    build: Annotated[
        Path | None, typer.Option("--build", help="Folder of a build: its loss logs and ablation.json are shown.")
    ] = None,
    examples: Annotated[
        int, typer.Option(help="Sample texts that every variant generates from; 0 leaves them out.", min=0)
    ] = 5,
    readme: Annotated[
        Path | None, typer.Option("--readme", help="File whose tables between the report markers are rewritten.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the README's tables: exit 1 at the first line that differs.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Write the report (--out), the README's tables (--readme), or both, from what the store's manifests record."""
    from slimseq.compression.errors import BadParameters
    from slimseq.compression.report.facts import facts_of
    from slimseq.compression.report.page import ReportOptions, write_report
    from slimseq.compression.report.readme import check_readme, update_readme

    if out is None and readme is None:
        raise BadParameters("name a folder with --out, a file with --readme, or both")
    if check and readme is None:
        raise BadParameters("--check needs --readme")
    if build is not None and not build.is_dir():
        raise BadParameters(f"--build {build} is not a folder")
    context = reading_context(store)
    chosen = list(dict.fromkeys(tasks or ()))
    if readme is not None and check:
        check_readme(readme, facts_of(context.store, chosen))
        print_line(f"{readme}: as the manifests say")
    elif readme is not None:
        is_changed = update_readme(readme, facts_of(context.store, chosen))
        print_line(f"{readme}: {'rewritten' if is_changed else 'unchanged'}")
    if out is not None:
        print_line(str(write_report(context, out, chosen, ReportOptions(build, examples))))
