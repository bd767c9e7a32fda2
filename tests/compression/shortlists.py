"""Publishes variants with a shortlist, as `import` makes them from Firefox's files, of any translator."""

from collections.abc import Iterable

import numpy as np

from slimseq.compression.artifacts.publish import copy_files, derived, publishing
from slimseq.compression.context import Context
from slimseq.compression.quantize.int8.candidate_columns import add_candidate_columns
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.shortlist import Shortlist
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Step, Task

FREQUENT = 150


def add_shortlist(context: Context, parent: str, name: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Publishes an int8 translator again, whose outputs choose among the tokens of pairs with the same source token."""
    folder = context.store.folder(Task.TRANSLATION, parent)
    manifest = context.store.verify(Task.TRANSLATION, parent)
    tokenizer = Tokenizer(folder)
    vocabulary = read_configuration(folder).vocabulary
    candidates: list[set[int]] = [set() for _ in range(vocabulary)]
    for source, target in pairs:
        target_ids = tokenizer.encode(target, manifest.generation.max_input_tokens).ids
        for token in tokenizer.encode(source, manifest.generation.max_input_tokens).ids:
            candidates[token].update(target_ids)
    counts = [len(each) for each in candidates]
    ids = [token for each in candidates for token in sorted(each)]
    learned = Shortlist(FREQUENT, np.cumsum([0, *counts]), np.array(ids, dtype=np.int64))
    step = Step(technique="shortlist", parent=manifest.digest)
    identity = derived(manifest, name, f"{manifest.description} It has a shortlist.", step)
    with publishing(context.store, identity, manifest) as draft:
        copy_files(manifest, folder, draft.folder)
        learned.write(draft.folder)
        add_candidate_columns(draft.folder / "onnx")
