"""`report`: the page with tables, plots and examples, and the README's tables, from the manifests of a store."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.cli.arguments import StoreOption, print_line, reading_context, require
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON
from slimseq.models_store.manifest import Task


def report_command(
    tasks: Annotated[list[Task] | None, Parameter(help="Tasks. By default all in the store.")] = None,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(group=COMMON, help="Folder for report.html and its plots. An earlier report is replaced."),
    ] = None,
    readme: Annotated[
        Path | None, Parameter(group=COMMON, help="File to rewrite the tables in, between the report markers.")
    ] = None,
    check: Annotated[
        bool,
        Parameter(group=COMMON, negative="", help="Only check the tables of --readme: exit 1 at the first difference."),
    ] = False,
    examples: Annotated[
        int,
        Parameter(
            group=COMMON,
            validator=Number(gte=0),
            help="Number of sample texts that every variant generates from. 0 leaves them out.",
        ),
    ] = 5,
    store: StoreOption = None,
) -> None:
    """Write the report (--out), the README's tables (--readme), or both, from what the store's manifests record.

    The README's tables are the same on every machine: for derived artifacts they take what the store's derived.json
    records. The report shows what the store holds.
    """
    require("jinja2")
    from slimseq.compression.report.facts import facts_of
    from slimseq.compression.report.page import write_report
    from slimseq.compression.report.readme import check_readme, update_readme

    if out is None and readme is None:
        raise BadParameters("name a folder with --out, a file with --readme, or both")
    if check and readme is None:
        raise BadParameters("--check needs --readme")
    context = reading_context(store)
    chosen = list(dict.fromkeys(tasks or ()))
    if readme is not None and check:
        check_readme(readme, facts_of(context.store, chosen, is_recorded=True))
        print_line(f"{readme}: as the manifests say")
    elif readme is not None:
        is_changed = update_readme(readme, facts_of(context.store, chosen, is_recorded=True))
        print_line(f"{readme}: {'rewritten' if is_changed else 'unchanged'}")
    if out is not None:
        print_line(str(write_report(context, out, chosen, examples)))
