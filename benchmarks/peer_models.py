"""What `benchmarks.peers` generates with, and from: models of hubs' shapes with random weights, and the embedded ones.

Random models read random ids, embedded models the bundled texts. All outputs are of one length, so that work is equal.
"""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import hub_shapes
from benchmarks.peer_process import Child
from benchmarks.peer_systems import ORIGINAL, Place
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Family, GenerationDefaults, GenerationOptions, Task
from slimseq.models_store.store import Store

EMBEDDED = tuple(task.value for task in Task)
DEFAULT_MODELS = (*hub_shapes.SHAPES, *EMBEDDED)
TINY: dict[str, tuple[Family, dict[str, Any]]] = {
    "tiny-t5": (
        Family.T5,
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 384,
            "decoder_start_token_id": 0,
        },
    ),
    "tiny-bart": (
        Family.BART,
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "vocab_size": 384,
            "max_position_embeddings": 64,
        },
    ),
}
SHAPES = hub_shapes.SHAPES | TINY
# Special ids of both families are below.
FIRST_ID = 5


@dataclass(frozen=True)
class Subject:
    """A model and what it reads.

    Args:
        name: what results call it.
        place: where it is.
        rows: input ids, of one length for random models.
        generation: settings that all systems follow, but for beams and lengths.
        new_tokens: of every output.
    """

    name: str
    place: Place
    rows: list[list[int]]
    generation: GenerationDefaults
    new_tokens: int

    def batch(self, size: int, turn: int) -> list[list[int]]:
        """Returns the rows of a turn's batch, from the first again where there are no more."""
        start = turn * size % len(self.rows)
        return list(islice(cycle(self.rows), start, start + size))

    def options(self, beams: int, tokens: int | None = None) -> GenerationOptions:
        """Returns the settings with outputs of exactly so many tokens, the subject's own by default."""
        tokens = self.new_tokens if tokens is None else tokens
        return self.generation.options(num_beams=beams, min_new_tokens=tokens, max_new_tokens=tokens)


def make_subject(name: str, folder: Path, store: Store, tokens: tuple[int, int], rows: int) -> Subject:
    """Makes a model in a folder of its own.

    Args:
        name: a shape, or a task, whose embedded original is copied.
        folder: empty.
        store: holds the embedded models.
        tokens: of an input of random ids, and of every output; none goes beyond the model's positions.
        rows: how many inputs of random ids.

    Raises:
        SystemFailed, SlimseqError: there is no such model, or it cannot be made.
    """
    input_tokens, new_tokens = tokens
    place = Place(folder, Task(name) if name in EMBEDDED else Task.TRANSLATION)
    generation = GenerationDefaults()
    if name in EMBEDDED:
        manifest = store.manifest(place.task, ORIGINAL)
        ignored = shutil.ignore_patterns(*DERIVED_FORMATS)
        shutil.copytree(store.folder(place.task, ORIGINAL), place.original, ignore=ignored)
        generation = manifest.generation
        new_tokens = min(new_tokens, generation.max_new_tokens)
    else:
        with Child(place) as child:
            child.begun()
            child.ask(shape=name)
    known = read_configuration(place.original)
    if known.max_positions is not None:
        input_tokens, new_tokens = min(input_tokens, known.max_positions), min(new_tokens, known.max_positions - 1)
    read = (
        _sample_rows(place, generation, min(generation.max_input_tokens, known.max_positions or 2**31))
        if name in EMBEDDED
        else _random_rows(rows, input_tokens, known.vocabulary, known.eos_id)
    )
    return Subject(name, place, read, generation, new_tokens)


def _random_rows(rows: int, length: int, vocabulary: int, eos_id: int) -> list[list[int]]:
    drawn = random.Random(0)
    return [[*(drawn.randrange(FIRST_ID, vocabulary) for _ in range(length - 1)), eos_id] for _ in range(rows)]


def _sample_rows(place: Place, generation: GenerationDefaults, limit: int) -> list[list[int]]:
    tokenizer = Tokenizer(place.original)
    examples: Sequence[Any] = load_examples(place.task, BUNDLED).examples
    return [tokenizer.encode(generation.prefix + example.source, limit).ids for example in examples]
