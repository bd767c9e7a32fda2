"""Generation rules that forbid, force or penalize tokens, in the order in which transformers applies them.

Each row has its own. They apply to a step's best tokens. All logits of a row are searched only where the rules leave
too few of its best tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.search import Ids, Scores, StepScores, highest
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.generation import ForcedOptions, GenerationOptions

# No forbidden tokens: rows and tokens.
NOTHING: tuple[Ids, Ids] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
# One record a row, so that rows join and leave with one copy. Fields are those of `GenerationOptions`.
RULES = np.dtype(
    [(name, np.int64) for name in ("min_new_tokens", "max_new_tokens", "no_repeat_ngram_size", "forced_bos_token_id")]
    + [("num_return_sequences", np.int64), ("num_beams", np.int64)]
    + [("length_penalty", np.float64), ("early_stopping", np.bool_), ("repetition_penalty", np.float32)]
)


def _column(name: str) -> cached_property[Any]:
    return cached_property(lambda rules: np.ascontiguousarray(rules.records[name]))


def _any(name: str) -> cached_property[bool]:
    return cached_property(lambda rules: not rules.is_plain and bool(getattr(rules, name).any()))


@dataclass(frozen=True)
class Rules:
    """The options of several rows: `records` `(rows,)`, of type `RULES`.

    With `is_plain` rules, no row forbids, forces or penalizes a token or stops early, so that nothing is looked up.
    """

    records: NDArray[np.void]
    is_plain: bool

    @classmethod
    def of(cls, options: Sequence[GenerationOptions]) -> "Rules":
        names = RULES.names or ()
        rows = [tuple(_id_or_none(getattr(each, name)) for name in names) for each in options]
        ruled = [_may_forbid(each) or each.early_stopping or each.forced_bos_token_id is not None for each in options]
        return cls(np.array(rows, dtype=RULES), is_plain=not any(ruled))

    def joined(self, other: "Rules") -> "Rules":
        # `np.concatenate` compares the fields of both first.
        records = np.empty(len(self.records) + len(other.records), dtype=RULES)
        records[: len(self.records)], records[len(self.records) :] = self.records, other.records
        return Rules(records, is_plain=self.is_plain and other.is_plain)

    def select(self, order: Ids) -> "Rules":
        """Returns the rules of the rows `order`, in that order."""
        return Rules(self.records[order], is_plain=self.is_plain)

    # The properties are used at every step and change only when rows join or leave.
    min_new_tokens = _column("min_new_tokens")
    max_new_tokens = _column("max_new_tokens")
    length_penalty = _column("length_penalty")
    early_stopping = _column("early_stopping")
    repetition_penalty = _column("repetition_penalty")
    num_return_sequences = _column("num_return_sequences")
    num_beams = _column("num_beams")
    # -1 means the model's own.
    first_tokens = _column("forced_bos_token_id")

    @cached_property
    def has_first_tokens(self) -> bool:
        return not self.is_plain and bool((self.first_tokens >= 0).any())

    @cached_property
    def ngram_sizes(self) -> list[tuple[int, NDArray[np.bool_] | None]]:
        """The n-gram sizes that may not repeat, each with a mask of its rows, `(rows,)`; None means all rows."""
        of_rows = self.records["no_repeat_ngram_size"]
        sizes = [size for size in sorted(set(of_rows.tolist())) if size > 0]
        rows = [of_rows == size for size in sizes]
        return [(size, None if which.all() else which) for size, which in zip(sizes, rows, strict=True)]

    @cached_property
    def last_positions(self) -> Ids:
        """The position of each row's last possible token, `(rows,)`."""
        return np.asarray(self.max_new_tokens - 1)

    @cached_property
    def is_penalized(self) -> NDArray[np.bool_]:
        """Which rows have a repetition penalty, `(rows,)`."""
        return np.asarray(self.repetition_penalty != 1)

    @cached_property
    def may_forbid(self) -> bool:
        """Whether a row's rules may forbid or penalize a token."""
        return not self.is_plain and (self.has_minimum or self.has_penalties or bool(self.ngram_sizes))

    has_penalties = _any("is_penalized")
    may_stop_early = _any("early_stopping")
    has_minimum = _any("min_new_tokens")


def may_read_logits(options: GenerationOptions, configuration: ModelConfiguration) -> bool:
    """Whether a row with these options may need the logits of other tokens than a step's best ones."""
    is_read = options.do_sample or isinstance(options, ForcedOptions) or bool(configuration.suppressed_ids)
    return is_read or _may_forbid(options)


def allowed(
    scores: StepScores, ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration, needed: int
) -> tuple[Ids, Scores]:
    """Applies the rules; returns the best tokens and their logits, both `(rows, top)`; forbidden ones have -inf.

    `ids` are the rows' tokens, the start token first, `(rows, any length)`, and `positions` counts those after it,
    `(rows,)`. Each row must have `needed` allowed tokens, where the vocabulary has so many.
    """
    tokens, logits = scores.top_tokens, scores.top_logits
    has_rules = rules.may_forbid or configuration.suppressed_ids
    rows, banned = _banned(ids, positions, rules, configuration) if has_rules else NOTHING
    if len(rows) or rules.has_penalties:
        hit, rank = (tokens[rows] == banned[:, None]).nonzero()
        if len(hit):
            logits = logits.copy()
            logits[rows[hit], rank] = -np.inf
        spare = tokens.shape[1] - needed
        for row in _rows_to_search(rows[hit], spare, rules):
            whole = allowed_logits(scores, ids, positions, rules, row, banned[rows == row])[None]
            tokens, logits = _writable(tokens, scores.top_tokens), _writable(logits, scores.top_logits)
            tokens[row] = highest(whole, tokens.shape[1])[0]
            logits[row] = whole[0, tokens[row]]
    forced = forced_tokens(positions, rules, configuration)
    if forced is not None:
        is_forced = forced >= 0
        tokens, logits = tokens.copy(), logits.copy()
        tokens[is_forced] = forced[is_forced, None]
        logits[is_forced] = -np.inf
        # A probability of 1.
        logits[is_forced, 0] = scores.log_sum_exp[is_forced]
    return tokens, logits


def forced_tokens(positions: Ids, rules: Rules, configuration: ModelConfiguration) -> Ids | None:
    """Returns each row's forced next token, `(rows,)`, -1 where there is none, or None if no row has one now."""
    first, last = configuration.forced_bos_id, configuration.forced_eos_id
    has_first = first is not None or rules.has_first_tokens
    is_first = has_first and positions == 0
    is_last = last is not None and positions == rules.last_positions
    if not (np.count_nonzero(is_first) or np.count_nonzero(is_last)):
        return None
    own = rules.first_tokens
    forced: Ids = np.where(is_first, np.where(own < 0, _id_or_none(first), own), -1)
    if last is not None:
        forced[is_last] = last
    return forced


def _may_forbid(options: GenerationOptions) -> bool:
    return bool(options.min_new_tokens or options.no_repeat_ngram_size) or options.repetition_penalty != 1


def _id_or_none(value: Any) -> Any:
    return -1 if value is None else value


def _rows_to_search(hit: Ids, spare: int, rules: Rules) -> list[int]:
    """Returns the rows whose whole vocabulary must be searched: penalized ones, and those with too few allowed tokens.

    `hit` has the row of each forbidden token among the best ones, of which `spare` a row may be forbidden.
    """
    if len(hit) <= spare:
        return np.nonzero(rules.is_penalized)[0].tolist() if rules.has_penalties else []
    is_lacking = np.bincount(hit, minlength=len(rules.is_penalized)) > spare
    return np.nonzero(rules.is_penalized | is_lacking)[0].tolist()


def _writable(values: NDArray[Any], shared: NDArray[Any]) -> NDArray[Any]:
    """Returns `values`, or a copy where they are the step's own array."""
    return values.copy() if values is shared else values


def allowed_logits(scores: StepScores, ids: Ids, positions: Ids, rules: Rules, row: int, banned: Ids) -> Scores:
    """Returns all logits of a row after the repetition penalty, -inf for forbidden tokens.

    The penalty is that of CTRL (Keskar et al. 2019, https://arxiv.org/abs/1909.05858): it divides positive scores and
    multiplies negative ones. As in transformers, beam search penalizes log-probabilities, the other methods logits.
    """
    whole = scores.of_row(row)
    if (penalty := rules.repetition_penalty[row]) != 1:
        base = scores.log_sum_exp[row] if rules.num_beams[row] > 1 else np.float32(0)
        history = ids[row, : positions[row] + 1]
        values = whole[history] - base
        whole[history] = np.where(values < 0, values * penalty, values / penalty) + base
    whole[banned] = -np.inf
    return whole


def banned_in(row: int, ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration) -> Ids:
    """Returns the forbidden next tokens of one row."""
    one = slice(row, row + 1)
    return _banned(ids[one], positions[one], rules.select(np.array([row])), configuration)[1]


def _banned(ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration) -> tuple[Ids, Ids]:
    """Returns the forbidden next tokens as two arrays of the same length: rows and tokens."""
    found = []
    if rules.has_minimum:
        [early] = (positions < rules.min_new_tokens).nonzero()
        found.append((early, np.full(len(early), configuration.eos_id, dtype=np.int64)))
    for token in configuration.suppressed_ids:
        found.append((np.arange(len(ids)), np.full(len(ids), token, dtype=np.int64)))
    for size, which in rules.ngram_sizes:
        rows, tokens = repeated_ngrams(ids, positions + 1, size)
        if which is not None:
            is_bound = which[rows]
            rows, tokens = rows[is_bound], tokens[is_bound]
        found.append((rows, tokens))
    if not found:
        return NOTHING
    if len(found) == 1:
        return found[0]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([tokens for _, tokens in found])


def repeated_ngrams(ids: Ids, lengths: Ids, size: int) -> tuple[Ids, Ids]:
    """Returns the rows and the tokens that would complete an n-gram of `size` that the row already has.

    `lengths` counts the valid ids of each row, at least 1.
    """
    ids = ids[:, : lengths.max()]
    # Candidates for the end of a repeated n-gram: after an earlier token that equals the last one.
    ends = np.arange(size - 1, ids.shape[1])
    is_earlier = ends < lengths[:, None]
    if size > 1:
        last = ids[np.arange(len(ids)), lengths - 1]
        is_earlier &= ids[:, size - 2 : -1] == last[:, None]
    rows, found = is_earlier.nonzero()
    found += size - 1
    for back in range(2, size):
        if not len(rows):
            break
        is_same = ids[rows, found - back] == ids[rows, lengths[rows] - back]
        rows, found = rows[is_same], found[is_same]
    return rows, ids[rows, found]
