"""Makes a technique's verb: its arguments, and a flag for each of its options."""

import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from slimseq.compression.commands.next_step import evaluate_next
from slimseq.compression.commands.options import (
    DeviceOption,
    ForceOption,
    JsonOption,
    SeedOption,
    StoreOption,
    TaskArgument,
    open_context,
    print_json,
    print_line,
)
from slimseq.compression.context import Context
from slimseq.compression.copies import copy_with_ancestors
from slimseq.compression.errors import BadParameters
from slimseq.compression.fields import OptionField, fields_of, filled
from slimseq.compression.technique import Job, Technique
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="Training data, repeatable: a .jsonl or .tsv file (also .gz), or two parallel texts as SOURCE:TARGET.",
        show_default=False,
    ),
]
CalibrationOption = Annotated[
    list[str] | None,
    typer.Option("--calibration", help="What is calibrated on, repeatable; the first rows of --data where not given."),
]
UnlabelledOption = Annotated[
    list[str] | None,
    typer.Option(
        "--unlabelled",
        help="Texts whose targets a teacher writes (--sequence-level), repeatable: a .jsonl file (also .gz), or text "
        "with one a line. For translations they are cut into sentences.",
    ),
]
DevOption = Annotated[
    list[str] | None, typer.Option("--dev", help="Held-out data, repeatable: its loss is printed before and after.")
]
MeasuredOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dev",
        help="Held-out data to measure on, repeatable: a .jsonl or .tsv file (also .gz), or a hub data set's name.",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Folder to write checkpoints to and resume from.", file_okay=False),
]
# Parameters of verbs that take data, beside the training data: how each is annotated, and its default.
OF_DATA: dict[str, tuple[Any, Any]] = {
    "calibration": (CalibrationOption, None),
    "dev": (DevOption, None),
    "unlabelled": (UnlabelledOption, None),
    "checkpoint": (CheckpointOption, None),
}
# Every verb's parameters after its own.
SHARED: dict[str, tuple[Any, Any]] = {
    "force": (ForceOption, False),
    "store": (StoreOption, None),
    "seed": (SeedOption, 0),
    "device": (DeviceOption, "cpu"),
    "as_json": (JsonOption, False),
}


def command_of(technique: Technique) -> Callable[..., None]:
    """Returns a function with a parameter for each argument and option of a technique, for typer to read."""
    from slimseq.compression.training.mixture import Mixture

    takes_data = technique.data in ("needed", "taken")
    fields = [*(fields_of(Mixture) if takes_data else ()), *technique.fields()]
    data: tuple[Any, Any] = (DataOption, inspect.Parameter.empty if technique.data == "needed" else [])

    def command(**values: Any) -> None:
        given = {field.name: _read(field, values.pop(field.name)) for field in fields}
        _run(technique, values, given)

    command.__doc__ = technique.run.__doc__
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in {
            "task": (TaskArgument, inspect.Parameter.empty),
            "variant": _parent(technique),
            **({"data": data} if takes_data else {}),
            "name": (
                Annotated[str, typer.Option("--name", help="What to call the result.")],
                technique.default_name,
            ),
            **{field.name: _flag(field, technique.flags) for field in fields},
            **(OF_DATA if takes_data else {}),
            **({"dev": (MeasuredOption, None)} if technique.data == "dev" else {}),
            **SHARED,
        }.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _run(technique: Technique, arguments: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    from slimseq.compression.training.data import DataFiles
    from slimseq.compression.training.mixture import Mixture

    of_mixture = {field.name for field in fields_of(Mixture)}
    mixture = filled(Mixture, {name: value for name, value in given.items() if name in of_mixture})
    context = open_context(arguments["store"], arguments["seed"], arguments["device"], arguments["force"])
    task, parent = Task(arguments["task"]), arguments["variant"] or ""
    is_folder = technique.default_parent == "" and ("/" in parent or Path(parent).is_dir())
    if parent and not is_folder:
        _find_parent(context, task, parent, is_store_named=arguments["store"] is not None)
    job = Job(
        context=context,
        task=task,
        parent=parent,
        name=arguments["name"],
        files=DataFiles(
            arguments.get("data") or (),
            arguments.get("calibration") or (),
            arguments.get("dev") or (),
            mixture,
            arguments.get("unlabelled") or (),
        ),
        checkpoint=arguments.get("checkpoint"),
        outputs=arguments.get("checkpoint"),
    )
    # Of processes that a launcher started, the first one publishes.
    is_main = os.environ.get("RANK", "0") == "0"
    with context.store.claim(task, job.name) if is_main else nullcontext():
        outcome = technique.apply(job, {name: value for name, value in given.items() if name not in of_mixture})
    if arguments["as_json"]:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        print_line(line)
    dev = next(iter(job.files.dev), None)
    print_line(evaluate_next(job.context, outcome.manifest, dev))


def _find_parent(context: Context, task: Task, parent: str, is_store_named: bool) -> None:
    """Checks that the parent is there; where nobody named a store, brings an embedded one into the user's own.

    Raises:
        UnknownVariant: it is in neither.
    """
    if not is_store_named and parent not in context.store.variants(task):
        copied = copy_with_ancestors(Store(embedded_store()), context.store, task, parent)
        if copied:
            context.say(f"Copied {', '.join(f'{task}/{name}' for name in copied)} from the embedded models")
    context.store.manifest(task, parent)


def _parent(technique: Technique) -> tuple[Any, Any]:
    if technique.default_parent == "":
        text = "A variant or a model folder to go on from; a new model where not given."
        return Annotated[str | None, typer.Option("--from", help=text)], None
    argument = Annotated[str, typer.Argument(help="The variant to start from, such as `original`.")]
    return argument, technique.default_parent or inspect.Parameter.empty


def _flag(field: OptionField, flags: Mapping[str, str]) -> tuple[Any, Any]:
    """Returns the annotation and the default of a field's flag."""
    kind, default = field.type, field.default
    plain = _without_none(kind)
    words = field.name.removeprefix("is_").replace("_", "-")
    name = flags.get(field.name, f"--{words}")
    if plain is bool:
        name = f"{name}/--no-{name.removeprefix('--')}"
    if _is_many(plain):
        kind, default = list[str] | None, None
    elif typing.get_origin(plain) is typing.Literal:
        kind = str
    shown: dict[str, Any] = {"show_default": default is not None and default != ""}
    return Annotated[kind, typer.Option(name, help=_help(field, plain), **shown)], default


def _help(field: OptionField, plain: Any) -> str:
    text = field.help[:1].upper() + field.help[1:]
    if typing.get_origin(plain) is typing.Literal:
        text += f" One of {', '.join(typing.get_args(plain))}."
    if typing.get_origin(plain) is Mapping or typing.get_origin(plain) is dict:
        text += " NAME=NUMBER, repeatable."
    elif _is_many(plain):
        text += " Repeatable."
    return text


def _read(field: OptionField, value: Any) -> Any:
    """Returns a flag's value as its field wants it."""
    plain = _without_none(field.type)
    if not _is_many(plain):
        return value
    if not value:
        return field.default
    if typing.get_origin(plain) in (Mapping, dict):
        return dict(_assignment(field.name, text) for text in value)
    return list(value)


def _assignment(name: str, text: str) -> tuple[str, str]:
    key, separator, number = text.rpartition("=")
    if not separator:
        raise BadParameters(f"--{name.replace('_', '-')} {text!r}: give NAME=NUMBER")
    return key, number


def _is_many(kind: Any) -> bool:
    return typing.get_origin(kind) in (list, tuple, Sequence, Mapping, dict)


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [part for part in typing.get_args(kind) if part is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind
