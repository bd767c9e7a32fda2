"""`build` and `prepare`: every variant that a recipe names, and what derives from variants."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from slimseq.cli.arguments import (
    DeviceOption,
    JsonOption,
    StoreOption,
    WorkersOption,
    open_context,
    print_json,
    print_line,
    print_table,
    require,
)
from slimseq.cli.next_step import serving_line
from slimseq.compression.options import COMMON, OUTPUT
from slimseq.models_store.derived import DERIVED


def build_command(
    recipe: Annotated[Path, Parameter(help="A recipe file, or the name of a recipe that comes with Slimseq.")],
    /,
    *,
    data_folder: Annotated[
        Path | None, Parameter(group=COMMON, help="Folder of the recipe's data. By default the recipe's own folder.")
    ] = None,
    folder: Annotated[
        Path | None,
        Parameter(
            name="--build-folder",
            group=COMMON,
            help="Folder for finished steps and checkpoints. By default .slimseq/NAME.",
        ),
    ] = None,
    import_: Annotated[
        str | None,
        Parameter(name="--import", group=COMMON, help="Import this hub id or folder instead of the recipe's own."),
    ] = None,
    measure: Annotated[bool, Parameter(group=COMMON, help="Measure the variants and apply their gates.")] = True,
    retrain_base: Annotated[
        bool,
        Parameter(
            group=COMMON, negative="", help="Make the base again, even if the recipe keeps the one in the store."
        ),
    ] = False,
    is_clean: Annotated[
        bool,
        Parameter(
            name="--clean",
            group=COMMON,
            negative="",
            help="Remove what builds of the recipe left in the build folder, and build nothing.",
        ),
    ] = False,
    force: Annotated[
        bool, Parameter(group=OUTPUT, negative="", help="Replace artifacts that this recipe did not make.")
    ] = False,
    store: StoreOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Build every variant that a recipe names: what is missing or stale, resuming what was interrupted.

    Each variant is then measured beside the base on the recipe's test sets, and its gate applied. Exit code 2
    says that a gate failed: the variant is kept, marked as rejected, and never served unless it is named.

    Nothing is replaced without --force: the build ends before it starts, and names what it would replace.
    """
    from slimseq.compression.build.build import BuildOptions, build
    from slimseq.compression.build.recipe import read_recipe, shipped_recipe, with_import
    from slimseq.compression.build.work import clean, size_of
    from slimseq.compression.errors import GateFailed

    path = recipe if recipe.exists() else shipped_recipe(str(recipe))
    described = read_recipe(path)
    if import_ is not None:
        described = with_import(described, import_)
    folder = folder or Path(".slimseq") / described.name
    if is_clean:
        print_line(f"{folder}: removed {clean(folder) / 1e6:,.1f} MB")
        return
    for library in described.requires():
        require(library)
    options = BuildOptions(
        data_folder=data_folder or path.parent,
        folder=folder,
        retrain_base=retrain_base,
        measure=measure,
    )
    context = open_context(store, described.seed, device, force, workers)
    with context.working(f"build {described.name}"):
        built = build(context, described, options)
    where = "" if folder == Path(".slimseq") / described.name else f" --build-folder {folder}"
    removal = f"slimseq build {recipe}{where} --clean"
    context.say(f"{folder} takes {size_of(folder) / 1e6:,.1f} MB, which only a repeated build needs: {removal}")
    if as_json:
        print_json(
            {
                "recipe": described.name,
                "built": built.built,
                "current": built.current,
                "measured": built.measured,
                "verdicts": {name: verdict.model_dump(mode="json") for name, verdict in built.verdicts.items()},
            }
        )
    else:
        table = Table("variant", "", "condition", "value", "at least", title=f"{described.name}")
        for name in [*built.current, *built.built]:
            verdict = built.verdicts.get(name)
            done = "built" if name in built.built else "up to date"
            for check in verdict.checks if verdict else ():
                word = "holds" if check.is_passed else "FAILS"
                table.add_row(name, done, f"{check.name}: {word}", f"{check.value:.3f}", f"{check.limit:g}")
            if verdict is None:
                table.add_row(name, done, "", "", "")
        print_table(table)
        print_line(f"Next, serve them: {serving_line(context)}")
    if built.rejected:
        raise GateFailed(f"{', '.join(built.rejected)}: kept and marked as rejected")


def prepare_command(
    *,
    measure: Annotated[bool, Parameter(group=COMMON, help="Evaluate new int8 variants on the bundled sample.")] = True,
    is_recorded: Annotated[
        bool,
        Parameter(
            name="--record",
            group=COMMON,
            negative="",
            help=f"Keep the manifests of the int8 variants, with what was measured, in the file TASK/{DERIVED} of the "
            "store. Where the same bytes are made from a copy of the store, they get this manifest.",
        ),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is missing: ONNX or CTranslate2 of artifacts with safetensors, and their int8 variants."""
    from slimseq.compression.prepare import prepare, record

    context = open_context(store)
    with context.working("prepare"):
        done = prepare(context, measure)
        done += record(context) if is_recorded else []
    if as_json:
        print_json(done)
    else:
        print_line("; ".join(done) if done else "nothing to build")
