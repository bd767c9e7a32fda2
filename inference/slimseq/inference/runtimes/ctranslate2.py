"""CTranslate2 on the CPU: `ctranslate2/` under the library's own search.

The library works with token strings; ids become strings and back through the exported vocabulary, one string an id.
Greedy search follows transformers' rules to the token. Beam search ends by the library's own rule, a number of finished
hypotheses, so some of its outputs differ from those of the other runtimes where lengths are penalized or bounded from
below; and it can neither be cancelled nor followed once it has begun: cancellation is asked for before it, and tokens
are told after it. A token that greedy search tells is told on the library's thread, while the caller's waits. For each
of them that thread has to get hold of the interpreter, for which the search waits: so greedy search too can be
cancelled only where somebody follows its tokens.

Draws come from numbers that each of the library's threads has for itself, and a thread keeps the seed that it began
with (https://github.com/OpenNMT/CTranslate2/issues/1757). So what draws with a seed gets a thread that has drawn
nothing yet, which takes opening the model once more for each row.
"""

import json
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slimseq.inference.decoding.search import finish_reason_of
from slimseq.inference.models.configuration import ModelConfiguration, read_configuration
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.seeded import DRAWING, has_seed, one_by_one
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import short_name
from slimseq.models_store.manifest import GenerationOptions

FORMAT = "ctranslate2"
MODEL = "model.bin"
VOCABULARY = "shared_vocabulary.json"
# Finished hypotheses a beam before the search ends. Without early stopping transformers goes on while an open beam may
# still win; 3 gave the same for 40 of 40 texts on both embedded models (1 for 29 and 40), in a quarter more time.
PATIENCE = 3.0
SEED_BITS = 32


class CTranslate2Runtime:
    """One artifact's translator.

    Args:
        opened: opens a translator for so many generations at a time.
        workers: generations that may run at a time.
        tokens: the vocabulary, one string an id.
        configuration: the artifact's.
    """

    name = "ctranslate2"

    def __init__(
        self, opened: Callable[[int], Any], workers: int, tokens: Sequence[str], configuration: ModelConfiguration
    ) -> None:
        self._opened = opened
        self._translator = opened(workers)
        self._tokens = tokens
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._configuration = configuration

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row, as `Runtime.generate` says; see above for what beam search cannot do."""
        if not rows:
            return []
        if has_seed(options):
            return one_by_one(self._drawn, rows, options, watch or GenerationCallbacks())
        return self._generated(self._translator, rows, options, watch or GenerationCallbacks())

    def close(self) -> None:
        """Drops the model, which frees its memory."""
        self._translator.unload_model()
        del self._translator

    def _drawn(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        """Generates with a translator that has drawn nothing yet; its threads begin with the seed."""
        import ctranslate2

        assert options.seed is not None
        with DRAWING:
            translator = self._opened(1)
            ctranslate2.set_random_seed(options.seed % 2**SEED_BITS)
            try:
                return self._generated(translator, rows, options, watch)
            finally:
                # For threads that draw without a seed and have not drawn yet.
                ctranslate2.set_random_seed(secrets.randbits(SEED_BITS))
                translator.unload_model()

    def _generated(
        self, translator: Any, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        follower = _Follower(watch, self._configuration.forced_bos_id)
        if follower.is_cancelled():
            return [GeneratedSequence([], "cancelled") for _ in rows]
        searched = self._searched_tokens(options)
        outputs = self._search(translator, rows, options, searched, follower) if searched else [[] for _ in rows]
        return [self._finished(row, ids, options, follower) for row, ids in enumerate(outputs)]

    def _searched_tokens(self, options: GenerationOptions) -> int:
        """Returns how many tokens are searched for: all but a forced end token, which is put behind them."""
        return options.max_new_tokens - (self._configuration.forced_eos_id is not None)

    def _search(
        self,
        translator: Any,
        rows: Sequence[Sequence[int]],
        options: GenerationOptions,
        searched: int,
        follower: "_Follower",
    ) -> list[list[int]]:
        configuration = self._configuration
        forced = configuration.forced_bos_id
        results = translator.translate_batch(
            [[self._tokens[token] for token in row] for row in rows],
            target_prefix=None if forced is None else [[self._tokens[forced]] for _ in rows],
            beam_size=options.num_beams,
            repetition_penalty=options.repetition_penalty,
            # For the library, 1 is greedy search and 0 all tokens.
            sampling_topk=options.top_k if options.do_sample else 1,
            sampling_topp=options.top_p if options.do_sample else 1.0,
            sampling_temperature=options.temperature if options.do_sample else 1.0,
            patience=1.0 if options.early_stopping or options.num_beams == 1 else PATIENCE,
            length_penalty=options.length_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            # The decoder's start token is history for transformers but not for the library: it matters for n-grams
            # of one token. (Longer ones repeat it only where a model generates its start token, which none should.)
            suppress_sequences=[[self._tokens[configuration.decoder_start_id]]]
            if options.no_repeat_ngram_size == 1
            else None,
            min_decoding_length=min(options.min_new_tokens, searched),
            max_decoding_length=searched,
            max_input_length=0,
            return_end_token=True,
            callback=follower.told if options.num_beams == 1 and follower.is_listening else None,
        )
        follower.reraise()
        return [[self._ids[token] for token in result.hypotheses[0]] for result in results]

    def _finished(
        self, row: int, ids: list[int], options: GenerationOptions, follower: "_Follower"
    ) -> GeneratedSequence:
        """Puts a forced end token behind a row that is as long as it may be, and tells what was not told."""
        configuration = self._configuration
        has_ended = bool(ids) and ids[-1] == configuration.eos_id
        if not has_ended and configuration.forced_eos_id is not None and len(ids) == self._searched_tokens(options):
            ids = [*ids, configuration.forced_eos_id]
        follower.tell_rest(row, ids)
        reason = finish_reason_of(ids, options, configuration)
        was_cut = reason == "length" and len(ids) < options.max_new_tokens
        return GeneratedSequence(ids, "cancelled" if was_cut and follower.was_cancelled else reason)


class _Follower:
    """Passes tokens on as they come, asks for cancellation once a step, and keeps errors for the caller's thread."""

    def __init__(self, watch: GenerationCallbacks, forced_bos_id: int | None) -> None:
        self._watch = watch
        self._forced_bos_id = forced_bos_id
        self._told: dict[int, int] = {}
        self._step = -1
        self._error: BaseException | None = None
        self.was_cancelled = False

    @property
    def is_listening(self) -> bool:
        """Whether somebody wants tokens as they come."""
        return self._watch.on_token is not None

    def is_cancelled(self) -> bool:
        """Asks the watch; once it said yes, it stays so."""
        if not self.was_cancelled and self._watch.is_cancelled is not None:
            self.was_cancelled = self._watch.is_cancelled()
        return self.was_cancelled

    def told(self, result: Any) -> bool:
        """Is the library's callback for each row of each step; returns whether the row is to end here."""
        try:
            if self._error is not None:
                return True
            self._tell(result.batch_id, result.token_id)
            # Every row of a step must get the same answer: all end after the same step.
            if result.step != self._step:
                self._step = result.step
                self.is_cancelled()
        except BaseException as error:  # an exception must not cross the library's threads
            self._error = error
            return True
        return self.was_cancelled

    def tell_rest(self, row: int, ids: Sequence[int]) -> None:
        """Tells those of a row's tokens that no callback told."""
        for token in ids[self._told.get(row, 0) :]:
            self._tell(row, token)

    def reraise(self) -> None:
        """Raises what a callback raised."""
        if self._error is not None:
            raise self._error

    def _tell(self, row: int, token: int) -> None:
        self._told[row] = self._told.get(row, 0) + 1
        if self._watch.on_token is not None:
            self._watch.on_token(row, token)


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> CTranslate2Runtime:
    """Opens an artifact's `ctranslate2/` folder.

    Args:
        folder: the artifact's folder.
        threads: threads of one generation; 0 lets the library choose.
        workers: generations that may run at a time.

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
    # It warns that a CPU computes in float32 with what is stored in float16, as it should.
    ctranslate2.set_log_level(logging.ERROR)

    def opened(workers: int) -> Any:
        return ctranslate2.Translator(str(path), device="cpu", inter_threads=workers, intra_threads=threads)

    try:
        return CTranslate2Runtime(opened, workers, tokens, configuration)
    except Exception as error:  # the library raises RuntimeError and ValueError alike
        raise InvalidArtifact(f"{short_name(path / MODEL)} cannot be opened: {str(error).splitlines()[0]}") from error
