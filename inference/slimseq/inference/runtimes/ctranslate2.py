"""The CTranslate2 runtime, on the CPU: opens `ctranslate2/` and uses the library's own search.

The library works with token strings, so ids are mapped to strings and back with the exported vocabulary.

**Search.** Greedy search gives the same tokens as transformers. Beam search ends after a number of finished hypotheses,
so some outputs differ from those of the other runtimes with a length penalty or a minimum length.

**Callbacks.** A running beam search has no callback: `is_cancelled` is called before the search and `on_token` after
it. Greedy search has a callback at each step, on a thread of the library. This callback waits for the interpreter lock,
so it is set only if the caller has `on_token`. Without the callback, a running greedy search cannot be cancelled
either. Rows are therefore divided among calls of a limited size, and a generation can be cancelled between two calls.

**Padding.** The library pads the rows of one call to the longest. `slimseq.inference.runtimes.separate` says which rows
may share a call. On CPUs where padding changes sums, all rows of a call must be padded to the same length, which
follows from each row alone. If no row of a call has this length, a row of end tokens is added that has it; its output
ends at once. Rows of a float model run alone.

Tokens a CPU second of `translation/compact` on a Xeon, for 480 short sentences in batches of 16:

    padded to the longest (outputs would depend on the batch)  9,300
    padded as above                                            6,200
    only rows of equal length share a call                     3,800

Tokens a second on an EPYC with AVX-512, for 99 sentences with greedy search, by the size of batches:

    rows a batch                   1       4       8      16
    padded as on the Xeon      8,000  10,100  12,200  14,900
    padding changes no sum     8,600  14,000  17,100  18,200

**Seeds.** Each thread of the library has its own random generator and keeps its first seed
(https://github.com/OpenNMT/CTranslate2/issues/1757). Sampling with a seed therefore opens the model again for each row,
to get a new thread. The runtime keeps the model's files open for this, since the folder may be gone or changed by then.

**Log-probabilities.** They come from the library's scores. In these scores, tokens that a rule forbids have no
probability, which makes the other tokens more probable. With a repetition penalty, log-probabilities are unknown, since
the library penalizes logits before the softmax.
"""

import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from slimseq.inference.decoding.search import finish_reason, token_mean
from slimseq.inference.models.configuration import ModelConfiguration, read_configuration
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.separate import (
    SEED_LOCK,
    by_padded_length,
    each_alone,
    generate_in_groups,
    has_seed,
    lengths_in_one_order,
    padded_length,
)
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import relative_to_store, short_name
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import DERIVED_FORMATS

FORMAT = "ctranslate2"
MODEL = "model.bin"
VOCABULARY = "shared_vocabulary.json"
# The search ends after this many finished hypotheses a beam. Without early stopping transformers goes on while an open
# beam may still win. Measured on both embedded models with 40 texts each: 3 gives the same outputs for all texts, 1 for
# 29 and 40 of them; 3 takes a quarter more time.
PATIENCE = 3.0
SEED_BITS = 32
# The size of a call, which cannot be cancelled: `CALL_ROWS` rows (times beams), if outputs may have up to `CALL_TOKENS`
# tokens. If outputs may have more tokens, a call has fewer rows, since the time of a row grows with the square of its
# tokens. On a busy core, `translation/compact` takes 2 s for such a call.
CALL_ROWS = 16
CALL_TOKENS = 128


class SearchedOutput(NamedTuple):
    """An output that the library found. `total` is the sum of the log-probabilities of its ids."""

    ids: list[int]
    total: float


class CTranslate2Runtime:
    """One artifact's translator.

    Args:
        open_translator: opens a translator for a number of concurrent generations, from the content of files by name,
            or from the artifact's folder.
        files: the model's, open for reading. Translators for seeded sampling are opened from them.
        workers: how many generations may run at the same time.
        tokens: the vocabulary, one string an id.
        configuration: the model's.
    """

    name = "ctranslate2"

    def __init__(
        self,
        open_translator: Callable[[int, dict[str, bytes] | None], Any],
        files: Mapping[str, BinaryIO],
        workers: int,
        tokens: Sequence[str],
        configuration: ModelConfiguration,
    ) -> None:
        self._open_translator = open_translator
        self._files = files
        self._translator = open_translator(workers, None)
        self._is_int8: bool = self._translator.compute_type.startswith("int8")
        self._tokens = tokens
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._configuration = configuration
        self._padding_limits = configuration.max_positions, lengths_in_one_order()

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row, as `Runtime.generate` says. The module's docstring has the limits."""
        if has_seed(options):
            return generate_in_groups(self._generate_with_seed, each_alone(rows), rows, options, callbacks)
        groups = by_padded_length(rows, *self._padding_limits) if self._is_int8 else each_alone(rows)
        size = _call_rows(options)
        calls = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
        return generate_in_groups(partial(self._generate, self._translator), calls, rows, options, callbacks)

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        for row, output in zip(rows, outputs, strict=True):
            source = [self._tokens[token] for token in row]
            target = [self._tokens[token] for token in output]
            # Each row runs alone, since targets are padded too. 0 means no limit.
            [result] = self._translator.score_batch([source], [target], max_input_length=0)
            yield result.log_probs[: len(target)]

    def close(self) -> None:
        self._translator.unload_model()
        del self._translator
        for file in self._files.values():
            file.close()

    def _generate_with_seed(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        """Generates with a new translator, whose threads start with the seed."""
        import ctranslate2

        assert options.seed is not None
        with SEED_LOCK:
            translator = self._open_translator(1, {name: _content(file) for name, file in self._files.items()})
            ctranslate2.set_random_seed(options.seed % 2**SEED_BITS)
            try:
                return self._generate(translator, rows, options, callbacks)
            finally:
                # Threads that sample later without a seed must not start with this one.
                ctranslate2.set_random_seed(secrets.randbits(SEED_BITS))
                translator.unload_model()

    def _generate(
        self, translator: Any, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        follower = _Follower(callbacks, len(rows))
        if follower.is_cancelled():
            return [GeneratedSequence([], "cancelled") for _ in rows]
        max_length = self._max_search_length(options)
        if max_length == 0:
            # Only the forced end token: there is nothing to search for.
            outputs = [[SearchedOutput([], 0.0)] for _ in rows]
        else:
            outputs = self._search(translator, rows, options, max_length, follower)
        return [self._sequence(row, found, options, follower) for row, found in enumerate(outputs)]

    def _max_search_length(self, options: GenerationOptions) -> int:
        """Returns the maximum number of tokens without a forced end token, which is appended after the search."""
        has_forced_end = self._configuration.forced_eos_id is not None
        return options.max_new_tokens - 1 if has_forced_end else options.max_new_tokens

    def _search(
        self,
        translator: Any,
        rows: Sequence[Sequence[int]],
        options: GenerationOptions,
        max_length: int,
        follower: "_Follower",
    ) -> list[list[SearchedOutput]]:
        """Returns the best outputs of each row, best first."""
        configuration = self._configuration
        first_token = configuration.first_token(options)
        inputs = [[self._tokens[token] for token in row] for row in rows]
        longest = max(map(len, inputs))
        padded = padded_length(longest, *self._padding_limits) if self._is_int8 else longest
        if longest < padded:
            # The row of end tokens, see the module's docstring.
            inputs.append([self._tokens[configuration.eos_id]] * padded)
        results = translator.translate_batch(
            inputs,
            target_prefix=None if first_token is None else [[self._tokens[first_token]] for _ in inputs],
            beam_size=options.num_beams,
            num_hypotheses=options.num_return_sequences,
            repetition_penalty=options.repetition_penalty,
            # In the library 1 means greedy search and 0 all tokens.
            sampling_topk=options.top_k if options.do_sample else 1,
            sampling_topp=options.top_p if options.do_sample else 1.0,
            sampling_temperature=options.temperature if options.do_sample else 1.0,
            patience=1.0 if options.early_stopping or options.num_beams == 1 else PATIENCE,
            length_penalty=options.length_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            # In transformers the start token is part of the history, in the library it is not. This matters for n-grams
            # of one token; longer ones contain it only if a model generates its start token.
            suppress_sequences=[[self._tokens[configuration.decoder_start_id]]]
            if options.no_repeat_ngram_size == 1
            else None,
            min_decoding_length=min(options.min_new_tokens, max_length),
            max_decoding_length=max_length,
            max_input_length=0,
            return_end_token=True,
            return_scores=True,
            callback=follower.on_step if _needs_callback(options, follower) else None,
        )
        if follower.error is not None:
            raise follower.error
        prefix_tokens = 0 if first_token is None else 1
        return [self._searched_outputs(result, prefix_tokens, options) for result in results[: len(rows)]]

    def _searched_outputs(self, result: Any, prefix_tokens: int, options: GenerationOptions) -> list[SearchedOutput]:
        """Returns the outputs of one row, best first, given the library's result for the row."""
        outputs = []
        for tokens, score in zip(result.hypotheses, result.scores, strict=True):
            # A score is the sum of log-probabilities divided by a power of the number of tokens that were searched
            # for. It is so for greedy search too.
            searched_tokens = len(tokens) - prefix_tokens
            total = score * searched_tokens**options.length_penalty
            outputs.append(SearchedOutput([self._ids[token] for token in tokens], total))
        return outputs

    def _sequence(
        self, row: int | None, found: list[SearchedOutput], options: GenerationOptions, follower: "_Follower"
    ) -> GeneratedSequence:
        """Returns the best output of a row with its alternatives.

        A forced end token is appended to outputs of maximum length. Tokens of the row that were not reported in a
        callback are reported now; `row` is None for an alternative, which is never reported.
        """
        configuration = self._configuration
        best, *others = found
        ids = best.ids
        has_ended = bool(ids) and ids[-1] == configuration.eos_id
        is_longest = len(ids) == self._max_search_length(options)
        if configuration.forced_eos_id is not None and is_longest and not has_ended:
            ids = [*ids, configuration.forced_eos_id]
        if row is not None:
            for token in ids[follower.reported[row] :]:
                follower.report(row, token)
        reason = finish_reason(ids, options.max_new_tokens, configuration)
        is_shorter_than_limit = reason == "length" and len(ids) < options.max_new_tokens
        if is_shorter_than_limit and follower.was_cancelled:
            reason = "cancelled"
        mean = token_mean(best.total, ids) if options.repetition_penalty == 1 else None
        alternatives = tuple(self._sequence(None, [each], options, follower) for each in others)
        return GeneratedSequence(ids, reason, mean, alternatives)


def _call_rows(options: GenerationOptions) -> int:
    """Returns how many rows a call may have, see `CALL_ROWS`."""
    # Below 1 if outputs may be longer than `CALL_TOKENS`.
    share_of_rows = min(1, CALL_TOKENS / options.max_new_tokens) ** 2
    return max(1, int(CALL_ROWS / options.num_beams * share_of_rows))


def _needs_callback(options: GenerationOptions, follower: "_Follower") -> bool:
    """Whether the library's callback is set.

    Sampling always has the callback: with it the library draws other random numbers, so a stream and an answer with the
    same seed would differ.
    """
    return options.num_beams == 1 and (follower.on_token is not None or options.do_sample)


class _Follower:
    """Connects the library's callback with `GenerationCallbacks`, and keeps exceptions for the caller's thread.

    A row of end tokens that only pads the others comes after the first `rows` rows. It is not reported.
    """

    def __init__(self, callbacks: GenerationCallbacks, rows: int) -> None:
        self.on_token, self._is_cancelled = callbacks.on_token, callbacks.is_cancelled
        self._rows = rows
        self.reported = Counter[int]()
        self._step = -1
        self.error: BaseException | None = None
        self.was_cancelled = False

    def is_cancelled(self) -> bool:
        """Asks the caller whether the generation is cancelled. The caller is not asked again after it said so."""
        if not self.was_cancelled and self._is_cancelled is not None:
            self.was_cancelled = self._is_cancelled()
        return self.was_cancelled

    def on_step(self, result: Any) -> bool:
        """The library's callback for each row of each step; returns whether the row must end here."""
        try:
            if self.error is not None or result.batch_id >= self._rows:
                return True
            self.report(result.batch_id, result.token_id)
            # All rows must end after the same step, so `is_cancelled` is called once a step.
            if result.step != self._step:
                self._step = result.step
                self.is_cancelled()
        except BaseException as error:  # an exception must not cross the library's threads
            self.error = error
            return True
        return self.was_cancelled

    def report(self, row: int, token: int) -> None:
        self.reported[row] += 1
        if self.on_token is not None:
            self.on_token(row, token)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> CTranslate2Runtime:
    """Opens an artifact's `ctranslate2/` folder, as `RuntimeOpener` says.

    Raises:
        InvalidArtifact: the model or its vocabulary is missing or cannot be loaded.
    """
    import ctranslate2

    path = folder / FORMAT
    try:
        tokens = json.loads((path / VOCABULARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArtifact(f"{short_name(path / VOCABULARY)} cannot be read: {reason}") from error
    configuration = read_configuration(folder)
    # The library warns that a CPU converts float16 weights to float32, which is intended.
    ctranslate2.set_log_level(logging.ERROR)

    def open_translator(workers: int, files: dict[str, bytes] | None) -> Any:
        return ctranslate2.Translator(
            str(path), device="cpu", inter_threads=workers, intra_threads=threads, files=files
        )

    try:
        files = {name: (path / name).open("rb") for name in DERIVED_FORMATS[FORMAT]}
        return CTranslate2Runtime(open_translator, files, workers, tokens, configuration)
    except MemoryError:
        raise
    except Exception as error:  # the library raises RuntimeError or ValueError
        reason = relative_to_store(str(error).splitlines()[0], folder)
        raise InvalidArtifact(f"{short_name(path / MODEL)} cannot be opened: {reason}") from error
