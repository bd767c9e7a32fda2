"""`compress`: the command that decides how a model gets smaller."""

import json
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from slimseq.cli.applying import find_variant
from slimseq.cli.arguments import TechniqueOptions, WorkersOption, command_line
from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.start.data_first import check_data_first
from slimseq.compression.compress.start.source import import_source, open_original, stored_name
from slimseq.compression.context import Context
from slimseq.compression.errors import GateFailed
from slimseq.compression.importing.importing import ImportOptions
from slimseq.compression.options import COMMON
from slimseq.compression.report.number_format import bounded
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.compress.compress import Compressed

# The route of the service for each task.
ROUTES = {Task.TRANSLATION: "translate", Task.SUMMARIZATION: "summarize"}

TaskOption = Annotated[
    Task | None, Parameter(group=COMMON, help="Task of SOURCE, if it is a model folder or a hub id.")
]
LanguagesOption = Annotated[
    list[str] | None,
    Parameter(
        name="--language",
        group=COMMON,
        help="Language of SOURCE, if it is a model folder or a hub id. Twice for translation: source, then target.",
    ),
]


def compress_command(
    source: str,
    /,
    *,
    options: CompressOptions = CompressOptions(),
    task: TaskOption = None,
    languages: LanguagesOption = None,
    workers: WorkersOption = 1,
    shared: TechniqueOptions = TechniqueOptions(),
) -> None:
    """Make smaller variants of a model within a time, and choose the fastest one that keeps enough quality.

    Give a model, a file of pairs, a bar and a time: `slimseq compress translation/portuguese --data pairs.jsonl --keep
    0.98 --within 60m`. The command tries int8, other search settings and other shapes of layers. It trains the best
    shapes, if there is time, and measures all variants as they will be served. It publishes those of which no other is
    better in quality, speed and size, with pictures and a recipe, and says which one it chose and why.

    After an interruption, the same command goes on. Exit code 2 says that no variant is shown to keep the bar.

    Args:
        source: A variant such as translation/portuguese, a model folder, a hub id such as google-t5/t5-small, or
            firefox:en-pt.
    """
    import_module("torch")
    from slimseq.compression.compress.compress import compress

    options.check()
    context = shared.writing(shared.seed, shared.device, shared.force, workers)
    known = stored_name(source)
    if known is not None:
        task, variant = known
        find_variant(context, task, variant, may_copy=shared.named_store is None)
    else:
        name = options.name or "original"
        imported = ImportOptions(task=task, variant=name, languages=languages)
        task, variant = import_source(
            context, source, imported, lambda task: check_data_first(context, task, source, options)
        )
    open_original(context, task, variant)
    folder = options.folder or Path(".slimseq") / f"compress-{task}-{options.name or variant}"
    try:
        found = compress(context, task, variant, options, folder)
    except KeyboardInterrupt:
        context.say(f"What is finished is in {folder}; the same command goes on from there.")
        raise
    if shared.as_json:
        sys.stdout.write(json.dumps(summary(found), ensure_ascii=False) + "\n")
    else:
        shared.show(None, *lines(context, found))
    if found.chosen is None:
        raise GateFailed(f"no variant of {task}/{variant} is shown to keep {options.keep:g}: {found.reason}")


def summary(found: "Compressed") -> dict[str, object]:
    """Returns the result for machines, which is one line."""
    return {
        "chosen": found.chosen,
        "reason": found.reason,
        "front": [point.record() for point in found.front],
        "task": found.task.value,
        "original": found.original,
        "folder": str(found.folder),
        "seconds": found.seconds,
        "remarks": list(found.remarks),
        "is_agreement": found.is_agreement,
        "tested": [score.model_dump(mode="json") for score in found.tested],
    }


def lines(context: Context, found: "Compressed") -> list[str | Table]:
    """Returns the front as a table, why one variant was chosen, and what to do next."""
    kept = "agreement" if found.is_agreement else "quality kept"
    table = Table("", "variant", "what it is", "MB", "tokens/s", "speed-up", kept, "keeps the bar")
    for point in found.front:
        table.add_row(
            "chosen" if point.is_chosen else "",
            point.variant,
            point.title,
            f"{point.bytes / 1e6:.1f}",
            f"{point.tokens_per_second:,.0f}",
            f"{point.speed_up:.2f}",
            bounded(point.retention, point.interval),
            "yes" if point.keeps else "not shown",
        )
    following: list[str | Table] = [f"Pictures and recipe: {found.folder}", *found.remarks, found.reason]
    for score in found.tested:
        kept = bounded(score.retention, score.retention_interval)
        following.append(f"{score.dataset}, which decided nothing: {found.chosen} keeps {kept} of {score.metric}.")
    if found.chosen is not None:
        following += serving_lines(context, found.task, found.chosen, found.example)
    return [table, *following]


def serving_lines(context: Context, task: Task, chosen: str, example: str) -> list[str]:
    """Returns the commands that serve and try the chosen variant, and says whether it answers by default.

    Args:
        context: of the store.
        task: of the variant.
        chosen: its name.
        example: a text to try it with.
    """
    from slimseq.app.serving.selection.catalogue import Catalogue
    from slimseq.app.serving.selection.defaults import Defaults
    from slimseq.app.serving.selection.language_pairs import own_pair

    body = json.dumps({"text": example}, ensure_ascii=False)
    address = f"http://127.0.0.1:8000/{ROUTES[task]}?variant={chosen}"
    default = Defaults(Catalogue(context.store)).find(task, own_pair(context.store.manifest(task, chosen)))
    if default == chosen:
        answering = f"Requests for its languages that name no variant are answered by {chosen} too."
    else:
        answering = (
            f"Requests for its languages that name no variant are answered by {default}. With "
            f"SLIMSEQ_DEFAULT_{task.name}={chosen} before the command, they are answered by {chosen}."
        )
    return [
        f"Next, serve it: {command_line(context, 'serve')}",
        f"Then try it: curl -s {shlex.quote(address)} -H 'content-type: application/json' -d {shlex.quote(body)}",
        answering,
    ]
