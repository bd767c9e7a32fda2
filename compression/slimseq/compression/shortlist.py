"""Learns a lexical shortlist: the target tokens that each source token of a translator may be translated to.

With one, an output chooses among the tokens of its own source's shortlist, in place of the whole vocabulary. Shortlists
come from word alignments (Jean et al. 2015, https://arxiv.org/abs/1412.2007, and Marian), here from those of IBM Model
1 (Brown et al. 1993, https://aclanthology.org/J93-2003) over the model's own tokens. In a recipe:

    - shortlist: {candidates: 60, frequent: 150}
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from slimseq.compression.artifacts.outcome import Outcome, step_of
from slimseq.compression.artifacts.publish import check_name, copy_files, derived, publishing
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.options import COMMON, flat, flat_values
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.pairs import DataFiles, Limits, TokenPair, TrainingSet, limits_of, read_material
from slimseq.compression.train.options import SequenceLevel
from slimseq.compression.train.sequence_level import learning_from_outputs
from slimseq.inference.graphs.names import COLUMNS
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.shortlist import Shortlist
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import SAFETENSORS_FORMAT, Manifest, Task

Ids = NDArray[np.int64]
# Iterations of expectation maximization: probabilities hardly change after them.
ITERATIONS = 5
# Candidates below this probability are left out.
LEAST_PROBABILITY = 1e-3
# Links between a source and a target token to learn from, about 40 bytes each. Pairs behind them are left out.
MAX_LINKS = 2**25


@flat(COMMON)
@dataclass(frozen=True)
class ShortlistOptions:
    """How many candidates a source has, and what they are learned from."""

    candidates: int = 60
    """Maximum number of target tokens of each source token."""
    frequent: int = 150
    """Number of target tokens that are candidates for every source: the most frequent ones."""
    samples: int = 100_000
    """Maximum number of pairs to learn from, drawn from the data."""
    sequence: SequenceLevel = field(default_factory=SequenceLevel)

    def check(self) -> None:
        for name in ("candidates", "frequent", "samples"):
            if getattr(self, name) < 1:
                raise BadParameters(f"{name} is {getattr(self, name)}; it is at least 1")


def learn_shortlist(
    pairs: Sequence[TokenPair] | TrainingSet, vocabularies: tuple[int, int], end_id: int, options: ShortlistOptions
) -> tuple[Shortlist, int]:
    """Learns a shortlist for so many source and target tokens; returns it with the number of pairs until `MAX_LINKS`.

    A token that a text has several times counts once. `end_id` is the source token that every source has. Its
    candidates are the most frequent target tokens.
    """
    sources, targets = vocabularies
    links, lengths, total, used = list[Ids](), list[Ids](), 0, 0
    while used < len(pairs) and total < MAX_LINKS:
        source, target = np.unique(pairs[used].source), np.unique(pairs[used].target)
        # The links of one target token stand together.
        links.append((source * targets + target[:, None]).reshape(-1))
        lengths.append(np.full(len(target), len(source)))
        total, used = total + len(links[-1]), used + 1
    keys, indices = np.unique(np.concatenate(links), return_inverse=True)
    own, ids = np.divmod(keys, targets)
    counted = np.concatenate(lengths)
    starts, probabilities = counted.cumsum() - counted, np.ones(len(keys))
    for _ in range(ITERATIONS):
        shares = probabilities[indices]
        shares /= np.add.reduceat(shares, starts).repeat(counted)
        counts = np.bincount(indices, shares)
        probabilities = counts / np.bincount(own, counts)[own]
    frequencies = np.bincount(ids[indices[starts]], minlength=targets)
    frequent = np.argsort(-frequencies, kind="stable")[: options.frequent]
    order = np.lexsort((-probabilities, own))
    own, ids = own[order], ids[order]
    ranks = np.arange(len(own)) - np.searchsorted(own, own)
    is_kept = (ranks < options.candidates) & (probabilities[order] >= LEAST_PROBABILITY) & (own != end_id)
    own = np.append(own[is_kept], np.full(len(frequent), end_id))
    ids = np.append(ids[is_kept], frequent)[np.argsort(own, kind="stable")]
    return Shortlist(0, np.append(0, np.bincount(own, minlength=sources).cumsum()), ids), used


def shortlist(job: Job, options: ShortlistOptions) -> Outcome:
    """Learns a shortlist and publishes an artifact again with it: the same weights and graphs.

    int8 decoders then multiply with the columns of candidates alone.

    Raises:
        BadParameters: an option is out of range, or the artifact cannot have a shortlist.
        BadData: a file cannot be used.
        UnknownVariant, InvalidArtifact, CorruptArtifact: the artifact cannot be read.
    """
    from slimseq.compression.quantize.int8.candidate_columns import add_candidate_columns

    started = time.monotonic()
    options.check()
    context, task, variant = job.context, job.task, job.parent
    check_name(context, task, job.name)
    parent, folder = context.store.verify(task, variant), context.store.folder(task, variant)
    _check(parent)
    configuration, tokenizer = read_configuration(folder), Tokenizer(folder)
    pairs = _read(job, options, tokenizer, limits_of(parent.generation, configuration.max_positions))
    targets = configuration.vocabulary
    end_id = tokenizer.encode("", parent.generation.max_input_tokens).ids[-1]
    with context.working("Aligning tokens"):
        learned, used = learn_shortlist(pairs, (configuration.source_vocabulary or targets, targets), end_id, options)
    sentence = f"It has a shortlist: {options.candidates} candidates a source token, {options.frequent} frequent ones."
    parameters = {**flat_values(options), "data": job.files.names, "pairs": used}
    step = step_of(context, TECHNIQUE.name, parameters, parent.digest, started)
    identity = derived(parent, job.name, f"{parent.description} {sentence}", step)
    with publishing(context.store, identity, parent) as draft:
        copy_files(parent, folder, draft.folder)
        learned.write(draft.folder)
        graphs = draft.folder / "onnx"
        if graphs.exists() and not (graphs / COLUMNS).exists():
            add_candidate_columns(graphs)
    if parent.has_format(SAFETENSORS_FORMAT):
        add_onnx(context, task, job.name)
    chosen = f"Shortlist: {len(learned.ids):,} candidates of {targets:,} tokens, from {used:,} pairs."
    return Outcome(context.store.manifest(task, job.name), chosen=[chosen])


def _check(parent: Manifest) -> None:
    name = f"{parent.task}/{parent.variant}"
    if parent.task is not Task.TRANSLATION:
        raise BadParameters(f"{name} copies its source; a shortlist is for translators")
    if parent.generation.language_tokens:
        raise BadParameters(f"{name} translates several pairs of languages; a shortlist is of one pair")
    if not parent.has_format("onnx") and not parent.has_format(SAFETENSORS_FORMAT):
        raise BadParameters(f"{name} is for CTranslate2, which has no shortlists: learn one before you quantize")


def _read(job: Job, options: ShortlistOptions, tokenizer: Tokenizer, limits: Limits) -> TrainingSet:
    """Returns pairs drawn from the data, with outputs of a teacher as targets if the options ask for them."""
    context, task = job.context, job.task
    prefix = context.store.manifest(task, job.parent).generation.prefix
    with context.working(f"Reading {job.files.names}"):
        material = read_material(task, job.files, tokenizer, prefix, limits, context.seed)
    every = material.train.examples
    drawn = np.random.default_rng(context.seed).permutation(len(every))[: options.samples]
    material = replace(material, train=material.train.with_examples([every[place] for place in drawn]))
    return learning_from_outputs(context, task, job.parent, material, options.sequence, job.outputs).train


TECHNIQUE = Technique(
    "shortlist",
    """Learn a lexical shortlist: outputs choose among the target tokens that their source may be translated to.

    It is learned from parallel text, or with --sequence-level replace from the model's own outputs. Generation in int8
    is faster. What it costs depends on the model and the texts: compare both variants with `evaluate`.
    """,
    shortlist,
    [ShortlistOptions],
    makes="shortlisted",
    data=DataFiles,
    unused=("calibration", "dev", "seed", "device"),
    needs_data=True,
)
