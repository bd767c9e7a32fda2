"""The candidates of the inputs in flight: the target tokens that each one's shortlist allows.

A decoder with the columns of the output matrix as an input multiplies with those of the candidates alone. All inputs
share them: new candidates get the next columns, and what inputs that left had is dropped when there is no space. Other
decoders compute all logits. Each row then takes the logits of its own candidates, which stand in the order of their
ids. So nothing that follows depends on the other rows: neither the best tokens, where logits are equal, nor the sum of
exponentials, which are added as integers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort

from slimseq.inference.decoding.search import Ids, Scores, StepScores
from slimseq.inference.engine.memory import Array
from slimseq.inference.graphs.tensor_names import CANDIDATE_MATRIX, CANDIDATE_SCALES, CANDIDATES, IS_SHORTLISTED
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.models.shortlist import Shortlist
from slimseq.models_store.generation import ForcedOptions, GenerationOptions

# What a decoder reads that multiplies with all columns.
ALL_TOKENS: dict[str, Array] = {
    IS_SHORTLISTED: np.array([False]),
    CANDIDATE_MATRIX: np.zeros((0, 0), dtype=np.int8),
    CANDIDATE_SCALES: np.zeros(0, dtype=np.float32),
}
# Factor over the columns that are needed where more inputs joined than had space.
SPARE_COLUMNS = 1.25
# The number of columns is an odd multiple of this: rows of the matrix whose addresses differ by a power of two compete
# for the same lines of a cache.
COLUMN_ALIGNMENT = 64
# Exponentials, 1 at most, are added in float64 as integer numbers of this unit's inverse: exact in any order, for
# 131,072 of them.
EXPONENTIAL_UNIT = np.float32(2**36)
# Makes the candidates of a batch with a number of beams.
NewShortlistCandidates = Callable[[int], "ShortlistCandidates"]


class ShortlistCandidates:
    """The candidates of one batch, whose inputs have so many `beams`.

    `inputs` are those of the decoder with columns, and `capacity` is the number of logits that it computes for a row.
    `version` changes whenever the memory of `inputs` does. Without the session of `columns.onnx`, the decoder computes
    all logits.
    """

    def __init__(
        self, shortlist: Shortlist, columns: ort.InferenceSession | None, configuration: ModelConfiguration, beams: int
    ) -> None:
        self._shortlist, self._session, self._configuration, self._beams = shortlist, columns, configuration, beams
        self._tokens: list[Ids] = []
        self.version = 0
        # The column of each token, -1 if it has none. The last token stands for none: it fills up shorter rows.
        vocabulary = configuration.vocabulary
        self._column_of = np.full(vocabulary + 1, -1) if columns else np.arange(vocabulary + 1)
        self._column_of[vocabulary] = 0
        self._bias = np.zeros(vocabulary + 1, dtype=np.float32)
        self._bias[vocabulary] = -np.inf
        self._columns = 0
        self.capacity = 0 if columns else vocabulary
        self.inputs: dict[str, Array] = {}
        # What `_arrange` finds.
        self._rows: Ids
        self._places: Ids
        self._biases: Scores
        self._buffers: Scores

    def join(self, sources: Sequence[Sequence[int]], options: Sequence[GenerationOptions]) -> None:
        """Appends inputs: ids and options of each."""
        configuration, new = self._configuration, []
        for source, each in zip(sources, options, strict=True):
            forced = (configuration.first_token(each), configuration.forced_eos_id)
            # With one vocabulary, what a source has may be copied.
            copied = source if configuration.source_vocabulary is None else ()
            output = each.forced_ids if isinstance(each, ForcedOptions) else ()
            others = [configuration.eos_id, *(id_ for id_ in forced if id_ is not None), *copied, *output]
            new.append(self._shortlist.tokens(list(source), configuration.vocabulary, others))
        self._tokens += new
        self._add_columns(new)
        self._arrange()

    def keep(self, order: Ids) -> None:
        """Makes input `i` the former input `order[i]`. Inputs not in `order` leave."""
        self._tokens = [self._tokens[row] for row in order]
        if self._tokens and self.inputs and sum(map(len, self._tokens)) < self.capacity:
            self._add_columns([], are_dropped=True)
            return self._arrange()
        rows = (self._beams * order[:, None] + np.arange(self._beams)).reshape(-1)
        self._rows, self._biases, self._places = self._rows[rows], self._biases[rows], self._places[rows]
        self._every, self._buffers = np.arange(len(rows)), self._buffers[:, : len(rows)]
        self._places += self.capacity * (self._every - rows)[:, None]

    def scores(self, logits: Scores, top: int) -> StepScores:
        """Returns the scores of a step from the decoder's logits or products, `(rows, capacity)`, without biases."""
        own, exponentials = self._buffers
        np.take(logits.reshape(-1), self._places, out=own, mode="clip")
        own += self._biases
        every = self._every[:, None]
        best = own.argmax(axis=1)[:, None] if top == 1 else _best(own, top)
        top_logits, top_tokens = own[every, best], self._rows[every, best]
        np.subtract(own, top_logits[:, :1], out=exponentials)
        np.exp(exponentials, out=exponentials)
        exponentials *= EXPONENTIAL_UNIT
        sums = np.rint(exponentials, out=exponentials).sum(axis=1, dtype=np.float64)
        log_sum_exp = (top_logits[:, 0] + np.log(sums / EXPONENTIAL_UNIT)).astype(np.float32)
        vocabulary = self._configuration.vocabulary
        return StepScores(own, top_logits, top_tokens, log_sum_exp, self._rows, vocabulary)

    def _add_columns(self, tokens: Sequence[Ids], *, are_dropped: bool = False) -> None:
        """Gives tokens columns. Those that no input needs are dropped for lack of space, or if the caller says so."""
        if self._session is None:
            return
        new = self._without_column(tokens)
        if are_dropped or self._columns + len(new) > self.capacity:
            factor = SPARE_COLUMNS if self._columns and not are_dropped else 1
            self._column_of[:-1] = -1
            self._columns = 0
            new = self._without_column(self._tokens)
            pairs = -((COLUMN_ALIGNMENT - int(factor * len(new))) // (2 * COLUMN_ALIGNMENT))
            self.capacity = min((2 * pairs + 1) * COLUMN_ALIGNMENT, self._configuration.vocabulary)
            self.version += 1
        matrix, scales, biases = self._session.run(None, {CANDIDATES: new})
        if not self._columns:
            self.inputs = {
                IS_SHORTLISTED: np.array([True]),
                CANDIDATE_MATRIX: np.zeros((len(matrix), self.capacity), dtype=matrix.dtype),
                CANDIDATE_SCALES: np.zeros(self.capacity, dtype=np.float32),
            }
        added = slice(self._columns, self._columns + len(new))
        self.inputs[CANDIDATE_MATRIX][:, added] = matrix
        self.inputs[CANDIDATE_SCALES][added] = scales
        self._bias[new], self._column_of[new] = biases, np.arange(added.start, added.stop)
        self._columns = added.stop

    def _without_column(self, tokens: Sequence[Ids]) -> Ids:
        is_new = np.zeros(len(self._column_of), dtype=np.bool_)
        is_new[np.concatenate([*tokens, np.zeros(0, dtype=np.int64)])] = True
        is_new &= self._column_of < 0
        return is_new.nonzero()[0]

    def _arrange(self) -> None:
        """Finds the tokens of each row, their places in the logits and their biases, `(rows, most candidates)`."""
        lengths = np.array(list(map(len, self._tokens)), dtype=np.int64)
        tokens = np.full((len(lengths), int(lengths.max(initial=0))), self._configuration.vocabulary)
        if len(lengths):
            tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(self._tokens)
        self._rows = tokens.repeat(self._beams, axis=0)
        self._biases = self._bias[self._rows]
        # The first write to newly allocated memory is slow.
        self._buffers = np.empty((2, *self._rows.shape), dtype=np.float32)
        self._every = np.arange(len(self._rows))
        self._places = self._column_of[self._rows] + self.capacity * self._every[:, None]


def _best(scores: Scores, count: int) -> Ids:
    """Returns the indices of the highest scores of each row, best first; of equal ones the first."""
    width, least = scores.shape[1], np.partition(scores, -count, axis=1)[:, -count, None]
    # Where several are equal to the least, a row has more than `count`.
    places = np.flatnonzero(~(scores < least))
    rows = places // width
    places = places[np.lexsort((-scores.reshape(-1)[places], rows))]
    starts = np.searchsorted(rows, np.arange(len(scores)))[:, None]
    best: Ids = places[starts + np.arange(count)] % width
    return best
