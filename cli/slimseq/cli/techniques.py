"""The verbs of techniques (`prune`, `distill`, …), each made of what the technique declares."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib import import_module
from inspect import Parameter as Argument
from inspect import Signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from slimseq.cli.arguments import (
    FLAG,
    TaskArgument,
    TechniqueOptions,
    VariantArgument,
    WorkersOption,
    evaluate_next,
)
from slimseq.compression.artifacts.copies import copy_with_ancestors
from slimseq.compression.context import Context
from slimseq.compression.errors import GateFailed
from slimseq.compression.keys import folder_digest, key_of
from slimseq.compression.options import COMMON, TRAINING, flat_values, without
from slimseq.compression.technique import TECHNIQUES, Job, Technique, step_key, technique_named
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.compression.train.unfinished import holds_progress, resumable, training_folder
from slimseq.models_store.errors import SlimseqError, UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

NameOption = Annotated[str, Parameter(group=COMMON, help="Name of the new variant.")]
FromOption = Annotated[
    str,
    Parameter(name="--from", group=COMMON, help="Variant or model folder to train further. By default a new model."),
]
CheckpointOption = Annotated[
    Path | None,
    Parameter(
        group=TRAINING,
        help="Folder for checkpoints, from which the same command resumes after an interruption. By default in the "
        "store, removed at the end.",
    ),
]
AnewOption = Annotated[
    bool, FLAG, Parameter(group=TRAINING, help="Start anew, not from what an interrupted run of the same command left.")
]
# Options that name further variants, whose weights decide the result too.
OTHER_VARIANTS = ("sequence_teacher", "begin_with")


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
    if _is_trained(technique):
        yield named("checkpoint", CheckpointOption, None)
        yield named("anew", AnewOption, False)
    if "sequence_level" in technique.settings({}):
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
    anew: bool = False,
    workers: int = 1,
    **options: Any,
) -> None:
    if technique.requires:
        import_module(technique.requires)
    parent, files = variant or start, files or DataFiles(())
    context = shared.writing(shared.seed, shared.device, shared.force, workers)
    is_folder = technique.takes_folder and ("/" in parent or Path(parent).is_dir())
    chosen = [options[kind.__name__] for kind in technique.options]
    with context.store.claim(task, name):
        copied = [] if is_folder or not parent else _find_variant(context, task, parent, shared.named_store is None)
        job, folder = Job(context, task, parent, name, files), checkpoint
        try:
            if folder is None and _is_trained(technique):
                key = _training_key(technique, job, chosen, is_folder)
                folder = training_folder(context.store.root, task, name, key)
            with ExitStack() as stack:
                if folder is not None:
                    is_in_store = checkpoint is None
                    stack.enter_context(resumable(context, folder, f"{task}/{name}", is_in_store, anew))
                outcome = technique.apply(replace(job, checkpoint=folder, outputs=folder), chosen)
        except BaseException:
            # What the same command goes on from needs its parent.
            if folder is None or not holds_progress(folder):
                _remove(context, task, copied)
            raise
    measure = evaluate_next(context, outcome.manifest, has_own_data=bool(files.dev))
    shared.show(outcome.summary(), *outcome.lines(), measure)
    if outcome.report is not None and outcome.report.got_worse:
        raise GateFailed(f"{task}/{name} is kept, but {outcome.report.worse_in_words}")


def _is_trained(technique: Technique) -> bool:
    return "max_steps" in technique.settings({})


def _training_key(technique: Technique, job: Job, options: Sequence[Any], is_folder: bool) -> str:
    """Returns the hash of all that decides the result of a training: a command with another one is another command.

    `is_folder` says whether the job starts from a model folder.
    """
    settings = {name: value for each in options for name, value in flat_values(each).items()}
    start: list[str | None] = []
    if is_folder and Path(job.parent).is_dir():
        start = [*folder_digest(Path(job.parent))]
    elif not is_folder:
        start = [_digest_of(job, job.parent)]
    others = [_digest_of(job, str(settings.get(name) or "")) for name in OTHER_VARIANTS]
    step = step_key(technique, settings, job.context.seed, None, job.files)
    return key_of(step, start, others, job.context.device)


def _digest_of(job: Job, variant: str) -> str | None:
    """Returns the digest of a variant; None where none is named, or where the store lacks it, which is said later."""
    if not variant:
        return None
    try:
        return job.context.store.manifest(job.task, variant).digest
    except SlimseqError:
        return None


def _find_variant(context: Context, task: Task, variant: str, may_copy: bool) -> list[str]:
    """Checks that a variant exists; else an embedded one may be copied. Returns the names of what was copied."""
    copied: list[str] = []
    known = context.store.variants(task)
    if may_copy and variant not in known:
        embedded = Store(embedded_store())
        copied = copy_with_ancestors(embedded, context.store, task, variant)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
        elif not known:
            # Any of the embedded ones would be copied.
            raise UnknownVariant(task.value, variant, embedded.variants(task))
    context.store.manifest(task, variant)
    return copied


def _remove(context: Context, task: Task, variants: Sequence[str]) -> None:
    for variant in variants:
        with suppress(SlimseqError):
            context.store.remove(task, variant)
