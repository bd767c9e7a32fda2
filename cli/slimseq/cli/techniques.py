"""The verbs of techniques (`prune`, `distill`, …), each made of what the technique declares."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from inspect import Parameter as Argument
from inspect import Signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from slimseq.cli.arguments import (
    TaskArgument,
    TechniqueOptions,
    VariantArgument,
    WorkersOption,
    evaluate_next,
)
from slimseq.compression.artifacts.copies import copy_with_ancestors
from slimseq.compression.context import Context
from slimseq.compression.errors import GateFailed
from slimseq.compression.options import COMMON, DATA, without
from slimseq.compression.technique import TECHNIQUES, Job, Technique, technique_named
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.models_store.errors import SlimseqError
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

    def taken(kind: type[Any]) -> Any:
        return Annotated[kind, without(*technique.unused)] if technique.unused else kind

    known = technique.settings({})
    yield Argument("task", Argument.POSITIONAL_ONLY, annotation=TaskArgument)
    if not technique.takes_folder:
        default = technique.starts_from or Argument.empty
        yield Argument("variant", Argument.POSITIONAL_ONLY, default=default, annotation=VariantArgument)
    if technique.data is not None:
        yield named("files", taken(technique.data), Argument.empty if technique.needs_data else technique.data(()))
    if technique.takes_folder:
        yield named("start", FromOption, "")
    yield named("name", NameOption, technique.makes)
    for kind in technique.options:
        yield named(kind.__name__, taken(kind), kind())
    if "max_steps" in known:
        yield named("checkpoint", CheckpointOption, None)
    if "sequence_level" in known:
        yield named("workers", WorkersOption, 1)
    yield named("shared", taken(TechniqueOptions), TechniqueOptions())


def _apply(
    technique: Technique,
    task: Task,
    name: str,
    shared: TechniqueOptions,
    variant: str = "",
    start: str = "",
    files: DataFiles | None = None,
    checkpoint: Path | None = None,
    workers: int = 1,
    **options: Any,
) -> None:
    if technique.requires:
        import_module(technique.requires)
    parent, files = variant or start, files or DataFiles(())
    context = shared.writing(shared.seed, shared.device, shared.force, workers)
    is_folder = technique.takes_folder and ("/" in parent or Path(parent).is_dir())
    job = Job(context, task, parent, name, files, checkpoint, outputs=checkpoint)
    with (
        context.store.claim(task, name),
        _variant_there(context, task, "" if is_folder else parent, shared.named_store is None),
    ):
        outcome = technique.apply(job, [options[kind.__name__] for kind in technique.options])
    measure = evaluate_next(context, outcome.manifest, has_own_data=bool(files.dev))
    shared.show(outcome.summary(), *outcome.lines(), measure)
    if outcome.report is not None and outcome.report.got_worse:
        raise GateFailed(f"{task}/{name} is kept, but {outcome.report.worse_in_words}")


@contextmanager
def _variant_there(context: Context, task: Task, variant: str, may_copy: bool) -> Iterator[None]:
    """Checks that a variant exists; else an embedded one may be copied, which leaves the store if the block fails."""
    copied: list[str] = []
    if may_copy and variant and variant not in context.store.variants(task):
        copied = copy_with_ancestors(Store(embedded_store()), context.store, task, variant)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
    try:
        if variant:
            context.store.manifest(task, variant)
        yield
    except BaseException:
        for name in copied:
            with suppress(SlimseqError):
                context.store.remove(task, name)
        raise
