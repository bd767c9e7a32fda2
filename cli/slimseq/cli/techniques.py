"""The verbs of techniques (`prune`, `distill`, …), each made of what the technique declares."""

from collections.abc import Callable, Iterator
from inspect import Parameter as Argument
from inspect import Signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from slimseq.cli.arguments import (
    CommonOptions,
    TaskArgument,
    VariantArgument,
    WithoutSeed,
    WorkersOption,
    evaluate_next,
    named_store,
    open_context,
    print_json,
    print_line,
    require,
)
from slimseq.compression.artifacts.copies import copy_with_ancestors
from slimseq.compression.context import Context
from slimseq.compression.options import COMMON, DATA, option_names
from slimseq.compression.technique import TECHNIQUES, Job, Technique, technique_named
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

NameOption = Annotated[str, Parameter(group=COMMON, help="Name of the new variant.")]
FromOption = Annotated[
    str,
    Parameter(name="--from", group=COMMON, help="Variant or model folder to train further. By default a new model."),
]
CheckpointOption = Annotated[
    Path | None, Parameter(group=DATA, help="Folder for checkpoints. The same command resumes from there.")
]


def __getattr__(name: str) -> Callable[..., None]:
    """Returns the function of a verb, such as `slimseq.cli.techniques.prune`, with an option for each of its fields."""
    if name not in TECHNIQUES:
        raise AttributeError(name)
    technique = technique_named(name)
    signature = Signature(list(_arguments(technique)))

    def command(*positional: Any, **given: Any) -> None:
        bound = signature.bind(*positional, **given)
        bound.apply_defaults()
        _apply(technique, **bound.arguments)

    command.__doc__ = technique.help
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def _arguments(technique: Technique) -> Iterator[Argument]:
    """Yields the parameters of a verb, in the order in which `--help` shows them within their groups."""

    def named(name: str, annotation: Any, default: Any) -> Argument:
        return Argument(name, Argument.KEYWORD_ONLY, default=default, annotation=annotation)

    known = {name for kind in technique.options for name in option_names(kind)}
    yield Argument("task", Argument.POSITIONAL_ONLY, annotation=TaskArgument)
    if not technique.takes_folder:
        default = technique.starts_from or Argument.empty
        yield Argument("variant", Argument.POSITIONAL_ONLY, default=default, annotation=VariantArgument)
    if technique.data is not None:
        yield named("files", technique.data, Argument.empty if technique.needs_data else technique.data(()))
    if technique.takes_folder:
        yield named("start", FromOption, "")
    yield named("name", NameOption, technique.makes)
    for kind in technique.options:
        yield named(kind.__name__, kind, kind())
    if "max_steps" in known:
        yield named("checkpoint", CheckpointOption, None)
    if "sequence_level" in known:
        yield named("workers", WorkersOption, 1)
    common = CommonOptions if technique.requires else WithoutSeed
    yield named("common", common, common())


def _apply(
    technique: Technique,
    task: Task,
    name: str,
    common: CommonOptions,
    variant: str = "",
    start: str = "",
    files: DataFiles | None = None,
    checkpoint: Path | None = None,
    workers: int = 1,
    **options: Any,
) -> None:
    """Applies a technique, and prints what came of it.

    Raises:
        SlimseqError: whatever the technique raises.
    """
    if technique.requires:
        require(technique.requires)
    parent, files = variant or start, files or DataFiles(())
    context = open_context(common.store, common.seed, common.device, common.force, workers)
    is_folder = technique.takes_folder and ("/" in parent or Path(parent).is_dir())
    if parent and not is_folder:
        _bring_parent(context, task, parent, named_store(common.store) is not None)
    job = Job(context, task, parent, name, files, checkpoint, outputs=checkpoint)
    with context.store.claim(task, name):
        outcome = technique.apply(job, [options[kind.__name__] for kind in technique.options])
    if common.as_json:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        print_line(line)
    print_line(evaluate_next(context, outcome.manifest, next(iter(files.dev), None)))


def _bring_parent(context: Context, task: Task, parent: str, is_store_named: bool) -> None:
    """Checks that the parent exists; if no store is named, copies an embedded parent into the user's own store.

    Raises:
        UnknownVariant: it is in neither.
    """
    if not is_store_named and parent not in context.store.variants(task):
        copied = copy_with_ancestors(Store(embedded_store()), context.store, task, parent)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
    context.store.manifest(task, parent)
