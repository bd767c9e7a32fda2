"""Learns a lexical shortlist: the target tokens that each source token of a translator may be translated to.

With one, an output chooses among the tokens of its own source's shortlist, in place of the whole vocabulary. Shortlists
come from word alignments (Jean et al. 2015, https://arxiv.org/abs/1412.2007, and Marian), here from those of IBM Model
1 (Brown et al. 1993, https://aclanthology.org/J93-2003) over the model's own tokens. In a recipe:

    - shortlist: {candidates: 60, frequent: 150}
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from slimseq.compression.artifacts.outcome import Outcome, step_of
from slimseq.compression.artifacts.publish import check_name, derived, publishing
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.options import COMMON, DATA, UNUSED, flat, flat_values
from slimseq.compression.quantize.columns import add_candidate_columns
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.pairs import DataFiles, TokenPair, TrainingSet, limits_of, read_material
from slimseq.compression.train.options import SequenceLevel
from slimseq.compression.train.sequence_level import learning_from_outputs
from slimseq.inference.graphs.names import COLUMNS
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.shortlist import Shortlist
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import SAFETENSORS_FORMAT, Manifest, Task

Ids = NDArray[np.int64]
Probabilities = NDArray[np.float64]
# Iterations of expectation maximization: probabilities hardly change after them.
ITERATIONS = 5
# Candidates below this probability are left out.
LEAST_PROBABILITY = 1e-3
# Pairs of which the links are found at once.
CHUNK_PAIRS = 8192
# Links to learn from, 4 bytes each and 8 more for each different one. Pairs behind them are left out.
MAX_LINKS = 2**26


@flat(COMMON)
@dataclass(frozen=True)
class ShortlistOptions:
    """How many candidates a source has, and what they are learned from."""

    candidates: int = 60
    """Maximum number of target tokens of each source token."""
    frequent: int = 150
    """Number of target tokens that follow from every source: the most frequent ones."""
    samples: int = 100_000
    """Maximum number of pairs to learn from, drawn from the data."""
    sequence: SequenceLevel = field(default_factory=SequenceLevel)

    def check(self) -> None:
        for name in ("candidates", "frequent", "samples"):
            if getattr(self, name) < 1:
                raise BadParameters(f"{name} is {getattr(self, name)}; it is at least 1")


@flat(DATA)
@dataclass(frozen=True)
class ParallelData(DataFiles):
    """Data files of a shortlist: there is nothing to calibrate."""

    calibration: Annotated[Sequence[str], UNUSED] = ()
    dev: Annotated[Sequence[str], Parameter(group=COMMON)] = ()
    """Held-out data: the share of its target tokens that are candidates is printed. Repeatable."""


@dataclass(frozen=True)
class Links:
    """The links of some pairs: each source token of a pair with each of its target tokens.

    `keys` `(different links,)` are source id times target vocabulary plus target id, ascending, and `indices`
    `(links,)` say which of them each link is. The links of one target token of a pair stand together, as many as
    `lengths` says.
    """

    keys: Ids
    indices: Ids
    lengths: Ids

    @property
    def starts(self) -> Ids:
        return np.append(0, self.lengths.cumsum()[:-1])


def learn_shortlist(
    pairs: Sequence[TokenPair] | TrainingSet, vocabularies: tuple[int, int], end_id: int, options: ShortlistOptions
) -> tuple[Shortlist, int]:
    """Learns a shortlist for sources and targets of so many tokens, and returns it with the number of pairs used.

    The most frequent target tokens are those of the source token `end_id`, which every source has.
    """
    sources, targets = vocabularies
    chunks, links, used = list[Links](), 0, 0
    frequencies = np.zeros(targets, dtype=np.int64)
    for start in range(0, len(pairs), CHUNK_PAIRS):
        chunk = [pairs[place] for place in range(start, min(start + CHUNK_PAIRS, len(pairs)))]
        found = _links(chunk, targets)
        chunks.append(found)
        frequencies += np.bincount(found.keys[found.indices[found.starts]] % targets, minlength=targets)
        links, used = links + len(found.indices), used + len(chunk)
        if links > MAX_LINKS:
            break
    keys = np.unique(np.concatenate([each.keys for each in chunks]))
    probabilities = _probabilities(chunks, keys, keys // targets)
    own, ids = np.divmod(keys, targets)
    order = np.lexsort((-probabilities, own))
    ranks = np.arange(len(order)) - np.searchsorted(own[order], own[order])
    is_kept = (ranks < options.candidates) & (probabilities[order] >= LEAST_PROBABILITY) & (own[order] != end_id)
    frequent = np.argsort(-frequencies, kind="stable")[: options.frequent]
    own = np.append(own[order][is_kept], np.full(len(frequent), end_id))
    ids = np.append(ids[order][is_kept], frequent)
    offsets = np.append(0, np.bincount(own, minlength=sources).cumsum())
    return Shortlist(0, offsets, ids[np.argsort(own, kind="stable")]), used


def _links(pairs: Sequence[TokenPair], targets: int) -> Links:
    every, lengths = list[Ids](), list[Ids]()
    for pair in pairs:
        source, target = np.unique(pair.source), np.unique(pair.target)
        every.append((source * targets + target[:, None]).reshape(-1))
        lengths.append(np.full(len(target), len(source)))
    keys, indices = np.unique(np.concatenate(every), return_inverse=True)
    return Links(keys, indices.astype(np.int32), np.concatenate(lengths))


def _probabilities(chunks: Sequence[Links], keys: Ids, sources: Ids) -> Probabilities:
    """Returns the probability of the target token of each link, given its source token, by IBM Model 1."""
    places = [np.searchsorted(keys, each.keys) for each in chunks]
    probabilities = np.ones(len(keys))
    for _ in range(ITERATIONS):
        counts = np.zeros(len(keys))
        for chunk, place in zip(chunks, places, strict=True):
            shares = probabilities[place][chunk.indices]
            shares /= np.add.reduceat(shares, chunk.starts).repeat(chunk.lengths)
            counts[place] += np.bincount(chunk.indices, shares, len(place))
        probabilities = counts / np.bincount(sources, counts)[sources]
    return probabilities


def shortlist(job: Job, options: ShortlistOptions) -> Outcome:
    """Learns a shortlist and publishes an artifact again with it: the same weights and graphs.

    int8 decoders then multiply with the columns of candidates alone.

    Raises:
        BadParameters: an option is out of range, or the artifact is a summarizer, has many pairs of languages, or is
            for CTranslate2 alone.
        BadData: a file cannot be used.
        UnknownVariant, InvalidArtifact, CorruptArtifact: the artifact cannot be read.
    """
    started = time.monotonic()
    options.check()
    context, task, variant = job.context, job.task, job.parent
    check_name(context, task, job.name)
    parent, folder = context.store.verify(task, variant), context.store.folder(task, variant)
    _check(parent)
    pairs, dev = _read(job, parent, options)
    configuration = read_configuration(folder)
    targets = configuration.vocabulary
    vocabularies = (configuration.source_vocabulary or targets, targets)
    end_id = Tokenizer(folder).encode("", parent.generation.max_input_tokens).ids[-1]
    with context.working("Aligning tokens"):
        learned, used = learn_shortlist(pairs, vocabularies, end_id, options)
    found = _coverage(learned, dev, targets, may_copy=configuration.source_vocabulary is None) if dev else {}
    parameters = {**flat_values(options), "data": job.files.names, "pairs": used, **found}
    sentence = f"It has a shortlist: {options.candidates} candidates a source token, {options.frequent} frequent ones."
    step = step_of(context, TECHNIQUE.name, parameters, parent.digest, started)
    identity = derived(parent, job.name, f"{parent.description} {sentence}", step)
    with publishing(context.store, identity) as draft:
        for file in parent.files:
            if not file.path.startswith("ctranslate2/"):
                (draft.folder / file.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / file.path, draft.folder / file.path)
        learned.write(draft.folder)
        graphs = draft.folder / "onnx"
        if graphs.exists() and not (graphs / COLUMNS).exists():
            add_candidate_columns(graphs)
        draft.parameters, draft.nonzero_parameters = parent.size.parameters, parent.size.nonzero_parameters
    if parent.has_format(SAFETENSORS_FORMAT):
        add_onnx(context, task, job.name)
    chosen = [f"Shortlist: {len(learned.ids):,} candidates of {targets:,} tokens, from {used:,} pairs."]
    if found:
        chosen.append(
            "Dev data: {dev_tokens:.2%} of its target tokens in {dev_candidates:,.0f} a source.".format(**found)
        )
    return Outcome(context.store.manifest(task, job.name), chosen=chosen)


def _check(parent: Manifest) -> None:
    name = f"{parent.task}/{parent.variant}"
    if parent.task is not Task.TRANSLATION:
        raise BadParameters(f"{name} copies its source; a shortlist is for translators")
    if parent.generation.language_tokens:
        raise BadParameters(f"{name} translates several pairs of languages; a shortlist is of one pair")
    if not parent.has_format("onnx") and not parent.has_format(SAFETENSORS_FORMAT):
        raise BadParameters(f"{name} is for CTranslate2, which has no shortlists: learn one before you quantize")


def _read(job: Job, parent: Manifest, options: ShortlistOptions) -> tuple[TrainingSet, TrainingSet | None]:
    """Returns pairs drawn from the data, with outputs of a teacher as targets if the options ask for them, and dev."""
    folder = job.context.store.folder(job.task, parent.variant)
    limits = limits_of(parent.generation, read_configuration(folder).max_positions)
    with job.context.working(f"Reading {job.files.names}"):
        prefix = parent.generation.prefix
        material = read_material(job.task, job.files, Tokenizer(folder), prefix, limits, job.context.seed)
    every = material.train.examples
    drawn = np.random.default_rng(job.context.seed).permutation(len(every))[: options.samples]
    material = replace(material, train=material.train.with_examples([every[place] for place in drawn]))
    material = learning_from_outputs(job.context, job.task, parent.variant, material, options.sequence, job.outputs)
    return material.train, material.dev


def _coverage(learned: Shortlist, dev: TrainingSet, targets: int, may_copy: bool) -> dict[str, Any]:
    """Returns the share of target tokens that are candidates of their source, and the mean number of candidates."""
    hits, sizes = list[bool](), list[int]()
    for place in range(len(dev)):
        pair = dev[place]
        candidates = learned.tokens(pair.source, targets, pair.source if may_copy else [])
        hits += np.isin(pair.target, candidates).tolist()
        sizes.append(len(candidates))
    return {"dev_tokens": round(float(np.mean(hits)), 5), "dev_candidates": round(float(np.mean(sizes)), 1)}


TECHNIQUE = Technique(
    "shortlist",
    """Learn a lexical shortlist: outputs choose among the target tokens that their source may be translated to.

    It is learned from parallel text, or with --sequence-level replace from the model's own outputs. Generation in int8
    is faster. What it costs depends on the model and the texts: compare both variants with `evaluate`.
    """,
    shortlist,
    [ShortlistOptions],
    makes="shortlisted",
    data=ParallelData,
    needs_data=True,
)
