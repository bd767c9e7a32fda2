"""`import`, `build`, `export` and `prepare`: the verbs beside techniques that make artifacts and their files."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from slimseq.cli.arguments import (
    FLAG,
    DeviceOption,
    ForceOption,
    Shared,
    TaskArgument,
    WorkersOption,
    command_line,
    evaluate_next,
)
from slimseq.compression.export.exporting import OnnxExporter, add_ctranslate2, add_onnx
from slimseq.compression.importing.firefox_download import SCHEME, list_models
from slimseq.compression.importing.importing import ImportOptions, find_task, import_model
from slimseq.compression.options import OUTPUT
from slimseq.compression.report.number_format import bounded
from slimseq.evaluation.gate import words_of
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES
from slimseq.models_store.files import folder_bytes

if TYPE_CHECKING:
    from slimseq.compression.build.build import Built


def import_command(
    source: str, /, *, options: ImportOptions = ImportOptions(), force: ForceOption = False, shared: Shared = Shared()
) -> None:
    """Import a model from a folder, a hub or Firefox as an artifact (weights as they are, manifest, model card).

    Families: T5 (1.0, 1.1, MADLAD-400), mT5, umT5, BART, mBART, M2M100 and NLLB, Marian, Marian students and PEGASUS.

    Args:
        source: A folder, a hub id such as google-t5/t5-small, or firefox:en-de. `firefox:` alone lists its pairs.
    """
    import_module("httpx2" if source == SCHEME else "torch")
    context = shared.writing(force=force)
    if source == SCHEME:
        found = [each.describe() for each in list_models(context)]
        table = Table("pair", "version", "architecture", "MB to download", "MB on disk")
        for pair, version, architecture, *sizes in map(dict.values, found):
            table.add_row(pair, version, architecture, *(f"{size / 1e6:.1f}" for size in sizes))
        return shared.show(found, table, "Next, import one of them: slimseq import firefox:PAIR")
    with context.store.claim(find_task(source, options), options.variant):
        manifest = import_model(context, source, options)
    stored, generation = sum(manifest.size.bytes_by_format.values()), manifest.generation
    onnx = context.store.folder(manifest.task, manifest.variant) / "onnx"
    exported = ""
    if onnx.exists():
        exported = f" and {folder_bytes(onnx) / 1e6:.1f} MB of ONNX files to serve (--no-export leaves them out)"
    name = f"{manifest.task}/{manifest.variant}"
    tokens = [generation.source_language_token, generation.target_language_token]
    marks = f" (tokens {' and '.join(filter(None, tokens))})" if any(tokens) else ""
    shared.show(
        manifest.model_dump(mode="json"),
        f"{name}: {manifest.size.parameters:,} parameters, {manifest.digest}",
        f"On the disk: {stored / 1e6:.1f} MB of weights to compress{exported}.",
        f"Languages: {' to '.join(manifest.languages)}{marks}. Prefix of inputs: {generation.prefix!r}.",
        evaluate_next(context, manifest),
    )


def build_command(
    recipe: Path,
    /,
    *,
    data_folder: Path | None = None,
    build_folder: Path | None = None,
    import_: Annotated[str | None, Parameter(name="--import")] = None,
    measure: bool = True,
    force: Annotated[bool, FLAG, Parameter(group=OUTPUT)] = False,
    device: DeviceOption = "cpu",
    workers: WorkersOption = 1,
    shared: Shared = Shared(),
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
        force: Replace artifacts that this recipe did not make.
    """
    from slimseq.compression.build.build import build
    from slimseq.compression.build.recipe import read_recipe, shipped_recipe, with_import
    from slimseq.compression.errors import GateFailed

    path = recipe if recipe.exists() else shipped_recipe(str(recipe))
    described = read_recipe(path)
    if import_ is not None:
        described = with_import(described, import_)
    folder = build_folder or Path(".slimseq") / described.name
    for library in described.requires():
        import_module(library)
    context = shared.writing(described.seed, device, force, workers)
    with context.working(f"build {described.name}"):
        built = build(context, described, data_folder or path.parent, folder, measure)
    context.say(
        f"{folder} takes {folder_bytes(folder) / 1e6:,.1f} MB, which only a repeated build needs: rm -r {folder}"
    )
    table, warnings = verdict_table(described.name, built)
    verdicts = {name: verdict.model_dump(mode="json") for name, verdict in built.verdicts.items()}
    found = {"recipe": described.name, **vars(built), "verdicts": verdicts}
    following = [] if built.rejected else [f"Next, serve them: {command_line(context, 'serve')}"]
    shared.show(found, table, *warnings, *following)
    if built.rejected:
        raise GateFailed(f"{', '.join(built.rejected)}: kept and marked as rejected")


def verdict_table(title: str, built: "Built") -> tuple[Table, list[str]]:
    """Returns a table of the variants of a build with the checks of their gates, and what the checks warn of."""
    table = Table("variant", "", "condition", "value", "at least", title=title)
    warnings = []
    for name in [*built.current, *built.built]:
        done = "built" if name in built.built else "up to date"
        if name not in built.verdicts:
            table.add_row(name, done, "", "", "")
            continue
        for check in built.verdicts[name].checks:
            value = bounded(check.value, check.interval)
            limit = f"{check.limit:g}, for the lower bound" if check.is_confident else f"{check.limit:g}"
            table.add_row(name, done, f"{check.name}: {words_of(check)}", value, limit)
            warnings += [f"Warning: {name}: {warning}." for warning in check.warnings]
    return table, warnings


def export_command(
    task: TaskArgument,
    variant: str = "original",
    /,
    *,
    form: Annotated[Literal["onnx", "ctranslate2"], Parameter(name="--format")] = "onnx",
    exporter: OnnxExporter = "slimseq",
    shared: Shared = Shared(),
) -> None:
    """Export an artifact's safetensors to ONNX or CTranslate2, both fp32, so that it serves without PyTorch.

    Args:
        variant: Variant to export.
        form: Format to add.
        exporter: Exporter of the ONNX graphs.
    """
    context = shared.writing()
    if form == "onnx":
        add_onnx(context, task, variant, exporter)
    else:
        add_ctranslate2(context, task, variant)
    stored = folder_bytes(context.store.folder(task, variant) / form)
    words = ("benchmark", task.value, variant, "--runtime", SERVING_RUNTIMES[form].name)
    shared.show(
        {"task": task.value, "variant": variant, "format": form, "bytes": stored},
        f"{task}/{variant}: {form}, {stored / 1e6:.1f} MB",
        f"Next, measure its speed: {command_line(context, *words)}",
    )


def prepare_command(*, measure: bool = True, record: Annotated[bool, FLAG] = False, shared: Shared = Shared()) -> None:
    """Build what is missing: ONNX or CTranslate2 of artifacts with safetensors, and their int8 variants.

    Args:
        measure: Evaluate new int8 variants on the bundled sample, and time variants that no run on this machine timed
            beside each other: a few seconds for each base model.
        record: Keep the manifests of the int8 variants, with what was measured, in the file TASK/derived.json of the
            store. Where the same bytes are made from a copy of the store, they get this manifest.
    """
    from slimseq.compression.prepare import prepare, record_int8_variants

    context = shared.writing()
    with context.working("prepare"):
        done = prepare(context, measure)
        done += record_int8_variants(context) if record else []
    shared.show(done, f"built what was missing: {len(done)} exports and variants" if done else "nothing to build")
