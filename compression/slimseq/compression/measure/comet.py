"""`comet`: records COMET scores that another environment computed."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.commands.arguments import JsonOption, StoreOption, open_context, print_json, print_line
from slimseq.evaluation.comet_files import BadScores, quality_scores, read_scores
from slimseq.evaluation.record import record


def command(
    scores: Annotated[Path, Parameter(help="The file that comet_environment/score.py wrote.")],
    /,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record COMET scores in the manifests of the variants that were scored.

    COMET needs an environment of its own: `evaluate --outputs` writes what it scores, and a program scores it there.
    """
    context = open_context(store)
    found = read_scores(scores)
    task = found.header.task
    manifests = {name: context.store.manifest(task, name) for name in found.header.variants}
    for name, scored in found.header.variants.items():
        if manifests[name].digest != scored.digest:
            raise BadScores(f"{task}/{name} is another model now than when its outputs were written; evaluate it again")
    recorded = quality_scores(found)
    for name, score in recorded.items():
        record(context.store, manifests[name], [score])
        write_card(context.store.folder(task, name), context.store.manifest(task, name))
    if as_json:
        print_json({name: score.model_dump(mode="json") for name, score in recorded.items()})
        return
    for name, score in recorded.items():
        kept = f", keeps {score.retention:.3f}" if score.retention is not None else ""
        low, high = score.interval
        print_line(f"{task}/{name}: COMET {score.value:.2f} [{low:.2f}, {high:.2f}]{kept}")
