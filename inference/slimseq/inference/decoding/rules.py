"""Generation rules that forbid, force or penalize tokens, in the order in which transformers applies them.

Searches call `allowed` at each step; sampling, which needs all logits, calls `allowed_logits`. Each row has its own
rules. They apply to a step's best tokens, which the decoder graph returns. All logits of a row are searched only where
the rules leave too few of its best tokens.
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

# No forbidden tokens, as `_banned` returns them.
NO_ROWS_AND_TOKENS: tuple[Ids, Ids] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
# One record a row, so that rows join and leave with one copy. The fields have the names of `GenerationOptions`.
RULES = np.dtype(
    [
        ("min_new_tokens", np.int64),
        ("max_new_tokens", np.int64),
        ("no_repeat_ngram_size", np.int64),
        ("forced_bos_token_id", np.int64),
        ("num_return_sequences", np.int64),
        ("num_beams", np.int64),
        ("length_penalty", np.float64),
        ("early_stopping", np.bool_),
        ("repetition_penalty", np.float32),
    ]
)


def _column(name: str) -> cached_property[Any]:
    """Returns a property of `Rules`: one field of all rows, `(rows,)`."""
    return cached_property(lambda rules: np.ascontiguousarray(rules.records[name]))


def _any(name: str) -> cached_property[bool]:
    """Returns a property of `Rules`: whether another property is true, or not 0, for at least one row."""
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
        rows = [tuple(_minus_one_for_none(getattr(each, name)) for name in names) for each in options]
        has_rule = [
            _may_forbid(each) or each.early_stopping or each.forced_bos_token_id is not None for each in options
        ]
        return cls(np.array(rows, dtype=RULES), is_plain=not any(has_rule))

    def joined(self, other: "Rules") -> "Rules":
        """Returns these rules, and the rules of other rows after them."""
        count = len(self.records)
        # `np.concatenate` would take longer: it compares the fields of both record types first.
        records = np.empty(count + len(other.records), dtype=RULES)
        records[:count] = self.records
        records[count:] = other.records
        return Rules(records, is_plain=self.is_plain and other.is_plain)

    def select(self, order: Ids) -> "Rules":
        """Returns the rules of the rows `order`, in that order."""
        return Rules(self.records[order], is_plain=self.is_plain)

    # The properties are cached: they are used at every step and change only when rows join or leave.
    min_new_tokens = _column("min_new_tokens")
    max_new_tokens = _column("max_new_tokens")
    length_penalty = _column("length_penalty")
    early_stopping = _column("early_stopping")
    repetition_penalty = _column("repetition_penalty")
    num_return_sequences = _column("num_return_sequences")
    num_beams = _column("num_beams")
    # -1 means the first token that the model's configuration forces, if any.
    first_tokens = _column("forced_bos_token_id")

    @cached_property
    def has_first_tokens(self) -> bool:
        return not self.is_plain and bool((self.first_tokens >= 0).any())

    @cached_property
    def ngram_sizes(self) -> list[tuple[int, NDArray[np.bool_] | None]]:
        """The n-gram sizes that may not repeat, each with a mask of its rows, `(rows,)`; None means all rows."""
        size_of_rows = self.records["no_repeat_ngram_size"]
        found: list[tuple[int, NDArray[np.bool_] | None]] = []
        for size in sorted(set(size_of_rows.tolist())):
            # 0 means that n-grams may repeat.
            if size <= 0:
                continue
            has_size = size_of_rows == size
            found.append((size, None if has_size.all() else has_size))
        return found

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


def may_read_logits(options: GenerationOptions, configuration: ModelConfiguration, spare: int) -> bool:
    """Whether a row may need the logits of other tokens than a step's best ones, of which `spare` may be forbidden."""
    if options.do_sample or isinstance(options, ForcedOptions):
        return True
    if _may_forbid_many(options):
        return True
    # Before its minimum length, an output may not end.
    forbidden = len(configuration.suppressed_ids) + bool(options.min_new_tokens)
    return forbidden > spare


def allowed(
    scores: StepScores, ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration, spare: int
) -> tuple[Ids, Scores]:
    """Applies the rules to the best tokens of a step.

    Args:
        scores: the step's scores, which are not changed.
        ids: the tokens of each row so far, the start token first, `(rows, any length)`.
        positions: how many tokens each row has after the start token, `(rows,)`.
        rules: the rows' rules.
        configuration: the model's, for tokens that it forbids or forces.
        spare: how many of a row's best tokens may be forbidden (`Search`).

    Returns:
        The best tokens and their logits, both `(rows, top)`. Forbidden ones have the logit -inf.
    """
    tokens, logits = scores.top_tokens, scores.top_logits
    banned_rows, banned_tokens = NO_ROWS_AND_TOKENS
    if rules.may_forbid or configuration.suppressed_ids:
        banned_rows, banned_tokens = _banned(ids, positions, rules, configuration)
    if len(banned_rows) or rules.has_penalties:
        # Which of the forbidden tokens are among the best ones of their rows, and their ranks there.
        hits, ranks = (tokens[banned_rows] == banned_tokens[:, None]).nonzero()
        hit_rows = banned_rows[hits]
        if len(hits):
            logits = logits.copy()
            logits[hit_rows, ranks] = -np.inf
        # Rows whose best tokens are not enough get the best tokens of the whole vocabulary.
        for row in _rows_to_search(hit_rows, spare, rules):
            banned = banned_tokens[banned_rows == row]
            all_logits = allowed_logits(scores, ids, positions, rules, row, banned)[None]
            tokens, logits = _writable(tokens, scores.top_tokens), _writable(logits, scores.top_logits)
            tokens[row] = highest(all_logits, tokens.shape[1])[0]
            logits[row] = all_logits[0, tokens[row]]
    forced = forced_tokens(positions, rules, configuration)
    if forced is not None:
        is_forced = forced >= 0
        tokens, logits = tokens.copy(), logits.copy()
        tokens[is_forced] = forced[is_forced, None]
        logits[is_forced] = -np.inf
        # A logit equal to the logsumexp is a probability of 1.
        logits[is_forced, 0] = scores.log_sum_exp[is_forced]
    return tokens, logits


def forced_tokens(positions: Ids, rules: Rules, configuration: ModelConfiguration) -> Ids | None:
    """Returns each row's forced next token, `(rows,)`, -1 where there is none, or None if no row has one now."""
    forced_bos, forced_eos = configuration.forced_bos_id, configuration.forced_eos_id
    may_force_first = forced_bos is not None or rules.has_first_tokens
    # Which rows are at their first or last position, `(rows,)`. Only `False` if the model forces no such token.
    is_first = may_force_first and positions == 0
    is_last = forced_eos is not None and positions == rules.last_positions
    if not (np.count_nonzero(is_first) or np.count_nonzero(is_last)):
        return None
    # A row's own first token replaces the model's.
    first_tokens = np.where(rules.first_tokens < 0, _minus_one_for_none(forced_bos), rules.first_tokens)
    forced: Ids = np.where(is_first, first_tokens, -1)
    if forced_eos is not None:
        forced[is_last] = forced_eos
    return forced


def _may_forbid(options: GenerationOptions) -> bool:
    return bool(options.min_new_tokens) or _may_forbid_many(options)


def _may_forbid_many(options: GenerationOptions) -> bool:
    """Whether the rules of a row may forbid or penalize any number of tokens."""
    return bool(options.no_repeat_ngram_size) or options.repetition_penalty != 1


def _minus_one_for_none(value: Any) -> Any:
    """Returns an option's value for an array of integers, which have no None."""
    return -1 if value is None else value


def _rows_to_search(hit_rows: Ids, spare: int, rules: Rules) -> list[int]:
    """Returns the rows whose whole vocabulary must be searched: penalized rows, and rows with too few allowed tokens.

    `hit_rows` has the row of each forbidden token among the best ones. A row may have `spare` forbidden tokens.
    """
    # Even if all forbidden tokens were in one row, this row would have enough others.
    if len(hit_rows) <= spare:
        return np.nonzero(rules.is_penalized)[0].tolist() if rules.has_penalties else []
    is_lacking = np.bincount(hit_rows, minlength=len(rules.is_penalized)) > spare
    return np.nonzero(rules.is_penalized | is_lacking)[0].tolist()


def _writable(values: NDArray[Any], shared: NDArray[Any]) -> NDArray[Any]:
    """Returns `values`, or a copy where they are the step's own array."""
    return values.copy() if values is shared else values


def allowed_logits(scores: StepScores, ids: Ids, positions: Ids, rules: Rules, row: int, banned: Ids) -> Scores:
    """Returns all logits of a row after the repetition penalty, -inf for forbidden tokens.

    The penalty is that of CTRL (Keskar et al. 2019, https://arxiv.org/abs/1909.05858): it divides positive scores and
    multiplies negative ones. As in transformers, beam search penalizes log-probabilities, the other methods logits.
    """
    logits = scores.of_row(row)
    penalty = rules.repetition_penalty[row]
    if penalty != 1:
        # A logit less the logsumexp is a log-probability.
        base = scores.log_sum_exp[row] if rules.num_beams[row] > 1 else np.float32(0)
        history = ids[row, : positions[row] + 1]
        values = logits[history] - base
        logits[history] = np.where(values < 0, values * penalty, values / penalty) + base
    logits[banned] = -np.inf
    return logits


def banned_in(row: int, ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration) -> Ids:
    """Returns the forbidden next tokens of one row."""
    one_row = slice(row, row + 1)
    _, tokens = _banned(ids[one_row], positions[one_row], rules.select(np.array([row])), configuration)
    return tokens


def _banned(ids: Ids, positions: Ids, rules: Rules, configuration: ModelConfiguration) -> tuple[Ids, Ids]:
    """Returns the forbidden next tokens as two arrays of the same length: rows and tokens."""
    found = []
    if rules.has_minimum:
        [early_rows] = (positions < rules.min_new_tokens).nonzero()
        found.append((early_rows, np.full(len(early_rows), configuration.eos_id, dtype=np.int64)))
    for token in configuration.suppressed_ids:
        found.append((np.arange(len(ids)), np.full(len(ids), token, dtype=np.int64)))
    for size, has_size in rules.ngram_sizes:
        rows, tokens = repeated_ngrams(ids, positions + 1, size)
        if has_size is not None:
            is_forbidden = has_size[rows]
            rows, tokens = rows[is_forbidden], tokens[is_forbidden]
        found.append((rows, tokens))
    if not found:
        return NO_ROWS_AND_TOKENS
    if len(found) == 1:
        return found[0]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([tokens for _, tokens in found])


def repeated_ngrams(ids: Ids, lengths: Ids, size: int) -> tuple[Ids, Ids]:
    """Returns the rows and the tokens that would complete an n-gram of `size` that the row already has.

    `lengths` counts the valid ids of each row, at least 1.
    """
    ids = ids[:, : lengths.max()]
    # An earlier n-gram counts if its first `size - 1` tokens are the row's last ones. First, find the places after a
    # token that equals the last token: an n-gram may end there.
    ends = np.arange(size - 1, ids.shape[1])
    may_end = ends < lengths[:, None]
    if size > 1:
        last_tokens = ids[np.arange(len(ids)), lengths - 1]
        may_end &= ids[:, size - 2 : -1] == last_tokens[:, None]
    rows, places = may_end.nonzero()
    places += size - 1
    # Then keep the places for which the tokens before that token are the same too.
    for back in range(2, size):
        if not len(rows):
            break
        is_same = ids[rows, places - back] == ids[rows, lengths[rows] - back]
        rows, places = rows[is_same], places[is_same]
    return rows, ids[rows, places]
