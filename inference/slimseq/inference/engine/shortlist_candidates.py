"""The candidates of the inputs in flight: the target tokens that each one's shortlist allows.

There are two kinds of decoders. A decoder with the columns of the output matrix as an input computes the logits of
these columns alone. The columns belong to the candidates of all inputs in flight. New candidates get the next columns.
Columns that no input needs any more are dropped when there is no space. Other decoders compute all logits.

In both cases each row then takes the logits of its own candidates, in the order of their ids (`scores`). So nothing
that follows depends on the other rows: neither which of two equal logits comes first, nor the sum of exponentials,
which are added as integers.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort

from slimseq.inference.decoding.search import Ids, Scores, StepScores
from slimseq.inference.engine.memory import Array
from slimseq.inference.graphs.tensor_names import CANDIDATE_MATRIX, CANDIDATE_SCALES, CANDIDATES, IS_SHORTLISTED
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.models.shortlist import Shortlist
from slimseq.models_store.generation import ForcedOptions, GenerationOptions

# The inputs of a decoder with columns for a step that computes the logits of all tokens: no columns are given.
ALL_TOKENS: dict[str, Array] = {
    IS_SHORTLISTED: np.array([False]),
    CANDIDATE_MATRIX: np.zeros((0, 0), dtype=np.int8),
    CANDIDATE_SCALES: np.zeros(0, dtype=np.float32),
}
# When the columns of new inputs had no space, so many times the needed columns are allocated, for the next inputs.
SPARE_FACTOR = 1.25
# The number of columns is an odd multiple of this: rows of the matrix whose addresses differ by a power of two compete
# for the same lines of a cache.
COLUMN_ALIGNMENT = 64
# Exponentials, which are 1 at most, are rounded to multiples of 1 / `EXPONENTIAL_FACTOR` and added as integers in
# float64. A float64 has 53 bits, so the sum of 2**17 (131,072) of them is exact, in any order.
EXPONENTIAL_FACTOR = np.float32(2**36)
# Makes the candidates of a batch, given its number of beams.
NewShortlistCandidates = Callable[[int], "ShortlistCandidates"]


class ShortlistCandidates:
    """The candidates of one batch, whose inputs have so many `beams` each.

    Without the session of `columns.onnx`, which reads columns of the output matrix, the decoder computes all logits.

    Attributes:
        inputs: what the decoder with columns reads, by name; empty for other decoders.
        capacity: how many logits the decoder computes for a row.
        version: changes whenever the arrays of `inputs` are allocated again.
    """

    def __init__(
        self, shortlist: Shortlist, columns: ort.InferenceSession | None, configuration: ModelConfiguration, beams: int
    ) -> None:
        self._shortlist = shortlist
        self._session = columns
        self._configuration = configuration
        self._beams = beams
        # The candidates of each input, ascending.
        self._tokens: list[Ids] = []
        self.version = 0
        # For each token its column, -1 if it has none, and its bias. One more token, `vocabulary`, fills up shorter
        # rows. It is no real token: it reads any logit, and its bias is -inf.
        vocabulary = configuration.vocabulary
        self._column_of = np.full(vocabulary + 1, -1) if columns else np.arange(vocabulary + 1)
        self._column_of[vocabulary] = 0
        self._bias = np.zeros(vocabulary + 1, dtype=np.float32)
        self._bias[vocabulary] = -np.inf
        # How many columns have a token.
        self._used_columns = 0
        self.capacity = 0 if columns else vocabulary
        self.inputs: dict[str, Array] = {}
        # By row, from `_arrange`: its candidates, the places of their logits in the flat array of all rows' logits,
        # and their biases, all `(rows, most candidates)`; and two arrays of that shape for `scores` to write.
        self._candidates: Ids
        self._places: Ids
        self._biases: Scores
        self._buffers: Scores

    def join(self, sources: Sequence[Sequence[int]], options: Sequence[GenerationOptions]) -> None:
        """Appends inputs: ids and options of each."""
        new_tokens = [self._tokens_of(source, each) for source, each in zip(sources, options, strict=True)]
        self._tokens += new_tokens
        self._add_columns(new_tokens)
        self._arrange()

    def _tokens_of(self, source: Sequence[int], options: GenerationOptions) -> Ids:
        """Returns the candidates of an input: the tokens of its shortlist, and others that its output may have."""
        configuration = self._configuration
        others = [configuration.eos_id]
        for forced in (configuration.first_token(options), configuration.forced_eos_id):
            if forced is not None:
                others.append(forced)
        # With one vocabulary for sources and targets, tokens of the source may be copied.
        if configuration.source_vocabulary is None:
            others += source
        if isinstance(options, ForcedOptions):
            others += options.forced_ids
        return self._shortlist.tokens(list(source), configuration.vocabulary, others)

    def keep(self, order: Ids) -> None:
        """Makes input `i` the former input `order[i]`. Inputs not in `order` leave."""
        self._tokens = [self._tokens[row] for row in order]
        # Fewer columns would be enough, even if inputs had no candidate in common.
        if self._tokens and self.inputs and sum(map(len, self._tokens)) < self.capacity:
            self._add_columns([], drops_unused=True)
            self._arrange()
            return
        rows = (self._beams * order[:, None] + np.arange(self._beams)).reshape(-1)
        self._candidates, self._biases = self._candidates[rows], self._biases[rows]
        self._all_rows, self._buffers = np.arange(len(rows)), self._buffers[:, : len(rows)]
        # Places count in the flat array of all logits, so they change with the number of their row.
        self._places = self._places[rows]
        self._places += self.capacity * (self._all_rows - rows)[:, None]

    def scores(self, logits: Scores, top: int) -> StepScores:
        """Returns the scores of a step from the decoder's logits, `(rows, capacity)`.

        A decoder with columns gives products without biases. For other decoders, the biases here are 0.
        """
        own_logits, exponentials = self._buffers
        np.take(logits.reshape(-1), self._places, out=own_logits, mode="clip")
        own_logits += self._biases
        all_rows = self._all_rows[:, None]
        best = own_logits.argmax(axis=1)[:, None] if top == 1 else _best(own_logits, top)
        top_logits, top_tokens = own_logits[all_rows, best], self._candidates[all_rows, best]
        np.subtract(own_logits, top_logits[:, :1], out=exponentials)
        np.exp(exponentials, out=exponentials)
        exponentials *= EXPONENTIAL_FACTOR
        sums = np.rint(exponentials, out=exponentials).sum(axis=1, dtype=np.float64)
        log_sum_exp = (top_logits[:, 0] + np.log(sums / EXPONENTIAL_FACTOR)).astype(np.float32)
        vocabulary = self._configuration.vocabulary
        return StepScores(own_logits, top_logits, top_tokens, log_sum_exp, self._candidates, vocabulary)

    def _add_columns(self, tokens: Sequence[Ids], *, drops_unused: bool = False) -> None:
        """Gives tokens columns.

        Columns that no input needs are dropped for lack of space, or if the caller says so. All others are then read
        again into new arrays.
        """
        if self._session is None:
            return
        new = self._without_column(tokens)
        if drops_unused or self._used_columns + len(new) > self.capacity:
            factor = SPARE_FACTOR if self._used_columns and not drops_unused else 1
            self._column_of[:-1] = -1
            self._used_columns = 0
            new = self._without_column(self._tokens)
            self.capacity = min(_aligned_columns(int(factor * len(new))), self._configuration.vocabulary)
            self.version += 1
        matrix, scales, biases = self._session.run(None, {CANDIDATES: new})
        if not self._used_columns:
            self.inputs = {
                IS_SHORTLISTED: np.array([True]),
                CANDIDATE_MATRIX: np.zeros((len(matrix), self.capacity), dtype=matrix.dtype),
                CANDIDATE_SCALES: np.zeros(self.capacity, dtype=np.float32),
            }
        added = slice(self._used_columns, self._used_columns + len(new))
        self.inputs[CANDIDATE_MATRIX][:, added] = matrix
        self.inputs[CANDIDATE_SCALES][added] = scales
        self._bias[new] = biases
        self._column_of[new] = np.arange(added.start, added.stop)
        self._used_columns = added.stop

    def _without_column(self, tokens: Sequence[Ids]) -> Ids:
        """Returns the tokens that have no column, each once, ascending."""
        is_new = np.zeros(len(self._column_of), dtype=np.bool_)
        is_new[np.concatenate([*tokens, np.zeros(0, dtype=np.int64)])] = True
        is_new &= self._column_of < 0
        return is_new.nonzero()[0]

    def _arrange(self) -> None:
        """Finds the candidates of each row, the places of their logits, and their biases."""
        lengths = np.array(list(map(len, self._tokens)), dtype=np.int64)
        tokens = np.full((len(lengths), int(lengths.max(initial=0))), self._configuration.vocabulary)
        if len(lengths):
            tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(self._tokens)
        self._candidates = tokens.repeat(self._beams, axis=0)
        self._biases = self._bias[self._candidates]
        # Kept for all steps, since the first write to newly allocated memory is slow.
        self._buffers = np.empty((2, *self._candidates.shape), dtype=np.float32)
        self._all_rows = np.arange(len(self._candidates))
        self._places = self._column_of[self._candidates] + self.capacity * self._all_rows[:, None]


def _aligned_columns(needed: int) -> int:
    """Returns the smallest odd multiple of `COLUMN_ALIGNMENT` that is not below a number of columns."""
    multiple = math.ceil(needed / COLUMN_ALIGNMENT)
    if multiple % 2 == 0:
        multiple += 1
    return multiple * COLUMN_ALIGNMENT


def _best(scores: Scores, count: int) -> Ids:
    """Returns the indices of the highest scores of each row, best first; of equal ones the first."""
    width = scores.shape[1]
    least = np.partition(scores, -count, axis=1)[:, -count, None]
    # Places in the flat array of scores. A row has more than `count` of them if several scores equal its least one.
    places = np.flatnonzero(~(scores < least))
    rows = places // width
    places = places[np.lexsort((-scores.reshape(-1)[places], rows))]
    starts = np.searchsorted(rows, np.arange(len(scores)))[:, None]
    best: Ids = places[starts + np.arange(count)] % width
    return best
