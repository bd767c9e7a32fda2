"""`import`, `build`, `export` and `prepare`: the verbs beside techniques that make artifacts and their files."""

# Shared options are explained where they are declared, in `arguments`.
# ruff: noqa: D417

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from slimseq.cli.arguments import (
    FLAG,
    DeviceOption,
    ForceOption,
    JsonOption,
    StoreOption,
    TaskArgument,
    WorkersOption,
    command_line,
    evaluate_next,
    open_context,
    print_json,
    print_line,
    print_table,
    require,
    serving_line,
)
from slimseq.compression.export.exporting import OnnxExporter, add_ctranslate2, add_onnx
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.compression.options import OUTPUT
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES


def import_command(
    source: str,
    /,
    *,
    options: ImportOptions,
    force: ForceOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a model from a folder or a hub as an artifact (safetensors as they are, manifest, model card).

    Families: T5 (1.0, 1.1, mT5), BART, mBART, Marian and PEGASUS.

    Args:
        source: A folder, or a hub id such as google-t5/t5-small.
    """
    require("torch")
    context = open_context(store, force=force)
    with context.store.claim(options.task, options.variant):
        manifest = import_model(context, source, options)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    stored = sum(manifest.size.bytes_by_format.values())
    name = f"{manifest.task}/{manifest.variant}"
    print_line(f"{name}: {manifest.size.parameters:,} parameters, {stored / 1e6:.1f} MB, {manifest.digest}")
    generation = manifest.generation
    tokens = [generation.source_language_token, generation.target_language_token]
    marks = f" (tokens {' and '.join(filter(None, tokens))})" if any(tokens) else ""
    print_line(f"Languages: {' to '.join(manifest.languages)}{marks}. Prefix of inputs: {generation.prefix!r}.")
    print_line(evaluate_next(context, manifest))


def build_command(
    recipe: Path,
    /,
    *,
    data_folder: Path | None = None,
    build_folder: Path | None = None,
    import_: Annotated[str | None, Parameter(name="--import")] = None,
    measure: bool = True,
    retrain_base: Annotated[bool, FLAG] = False,
    clean: Annotated[bool, FLAG] = False,
    force: Annotated[bool, FLAG, Parameter(group=OUTPUT)] = False,
    store: StoreOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Build every variant that a recipe names: what is missing or stale, resuming what was interrupted.

    Each variant is then measured beside the base on the recipe's test sets, and its gate applied. Exit code 2
    says that a gate failed: the variant is kept, marked as rejected, and never served unless it is named.

    Nothing is replaced without --force: the build ends before it starts, and names what it would replace.

    Args:
        recipe: A recipe file, or the name of a recipe that comes with Slimseq.
        data_folder: Folder of the recipe's data. By default the recipe's own folder.
        build_folder: Folder for finished steps and checkpoints. By default .slimseq/NAME.
        import_: Import this hub id or folder instead of the recipe's own.
        measure: Measure the variants and apply their gates.
        retrain_base: Make the base again, even if the recipe keeps the one in the store.
        clean: Remove what builds of the recipe left in the build folder, and build nothing.
        force: Replace artifacts that this recipe did not make.
    """
    from slimseq.compression.build.build import BuildOptions, build
    from slimseq.compression.build.recipe import read_recipe, shipped_recipe, with_import
    from slimseq.compression.build.work import remove_work, size_of
    from slimseq.compression.errors import GateFailed

    path = recipe if recipe.exists() else shipped_recipe(str(recipe))
    described = read_recipe(path)
    if import_ is not None:
        described = with_import(described, import_)
    folder = build_folder or Path(".slimseq") / described.name
    if clean:
        print_line(f"{folder}: removed {remove_work(folder) / 1e6:,.1f} MB")
        return
    for library in described.requires():
        require(library)
    options = BuildOptions(data_folder or path.parent, folder, retrain_base, measure)
    context = open_context(store, described.seed, device, force, workers)
    with context.working(f"build {described.name}"):
        built = build(context, described, options)
    where = "" if folder == Path(".slimseq") / described.name else f" --build-folder {folder}"
    removal = f"slimseq build {recipe}{where} --clean"
    context.say(f"{folder} takes {size_of(folder) / 1e6:,.1f} MB, which only a repeated build needs: {removal}")
    if as_json:
        verdicts = {name: verdict.model_dump(mode="json") for name, verdict in built.verdicts.items()}
        found = {"built": built.built, "current": built.current, "measured": built.measured, "verdicts": verdicts}
        print_json({"recipe": described.name, **found})
    else:
        table = Table("variant", "", "condition", "value", "at least", title=f"{described.name}")
        for name in [*built.current, *built.built]:
            done = "built" if name in built.built else "up to date"
            if name not in built.verdicts:
                table.add_row(name, done, "", "", "")
                continue
            for check in built.verdicts[name].checks:
                word = "holds" if check.is_passed else "FAILS"
                table.add_row(name, done, f"{check.name}: {word}", f"{check.value:.3f}", f"{check.limit:g}")
        print_table(table)
        print_line(f"Next, serve them: {serving_line(context)}")
    if built.rejected:
        raise GateFailed(f"{', '.join(built.rejected)}: kept and marked as rejected")


def export_command(
    task: TaskArgument,
    variant: str = "original",
    /,
    *,
    form: Annotated[Literal["onnx", "ctranslate2"], Parameter(name="--format")] = "onnx",
    compute_type: Literal["float32", "int8", "int8_float16"] = "float32",
    exporter: OnnxExporter = OnnxExporter.SLIMSEQ,
    store: StoreOption = None,
) -> None:
    """Export an artifact's safetensors to ONNX (fp32) or CTranslate2, so that it serves without PyTorch.

    Args:
        variant: Variant to export.
        form: Format to add.
        compute_type: Type of CTranslate2's weights.
        exporter: Exporter of the ONNX graphs.
    """
    context = open_context(store)
    if form == "onnx":
        add_onnx(context, task, variant, exporter)
    else:
        add_ctranslate2(context, task, variant, compute_type)
    folder = context.store.folder(task, variant) / form
    stored = sum(path.stat().st_size for path in folder.iterdir())
    print_line(f"{task}/{variant}: {form}, {stored / 1e6:.1f} MB")
    words = ("benchmark", task.value, variant, "--runtime", SERVING_RUNTIMES[form].name)
    print_line(f"Next, measure its speed: {command_line(context, *words)}")


def prepare_command(
    *,
    measure: bool = True,
    record: Annotated[bool, FLAG] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is missing: ONNX or CTranslate2 of artifacts with safetensors, and their int8 variants.

    Args:
        measure: Evaluate new int8 variants on the bundled sample.
        record: Keep the manifests of the int8 variants, with what was measured, in the file TASK/derived.json of the
            store. Where the same bytes are made from a copy of the store, they get this manifest.
    """
    from slimseq.compression.prepare import prepare, record_int8_variants

    context = open_context(store)
    with context.working("prepare"):
        done = prepare(context, measure)
        done += record_int8_variants(context) if record else []
    if as_json:
        print_json(done)
    else:
        print_line("; ".join(done) if done else "nothing to build")
