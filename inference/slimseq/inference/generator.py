"""Opens an artifact for text generation: chooses a runtime, verifies the files, and joins tokenizer and runtime.

A `TextGenerator` turns one text into one `TextOutput`. Splitting into sentences, protected spans and warnings belong to
`slimseq.inference.text`. `slimseq.inference.load` is the public API over it; the service uses it directly.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, Self

from slimseq.inference.models.configuration import ModelConfiguration, read_configuration
from slimseq.inference.models.registry import FAMILIES
from slimseq.inference.runtime import (
    ContinuousRuntime,
    Engine,
    FinishReason,
    GeneratedSequence,
    GenerationCallbacks,
    Runtime,
)
from slimseq.inference.runtimes.registry import RUNTIMES, RuntimeKind, runtime_named
from slimseq.inference.tokenizer import Encoding, ForcedOutput, TextStream, Tokenizer
from slimseq.models_store.errors import CannotWrite, InvalidOptions, RuntimeUnavailable, Unprepared
from slimseq.models_store.generation import MAX_NEW_TOKENS, GenerationOptions
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

OnOverflow = Literal["truncate", "error"]


class Score(NamedTuple):
    """A value of a part of an output.

    The part is the text from `start` to `end`. It is the text of one token, or the words of a translation that belong
    to an inline element of the source. `element` is then the number of this element.
    """

    start: int
    end: int
    value: float
    element: int = 0


@dataclass(frozen=True)
class TextOutput:
    """One generated text.

    Attributes:
        text: the text.
        finish_reason: why the generation ended.
        input_tokens: the ids that the model read.
        output_tokens: the ids that it generated, the end token included.
        truncated: whether the input had more ids than the model reads.
        lost: what the text should have from its source but has not, see `slimseq.inference.text.passes`.
        mean_log_probability: the mean over the generated ids, as in `GeneratedSequence`. None: unknown.
        scores: the log-probabilities of the tokens of a scored output, or how much parts of a translation depend on
            inline elements of its source.
        alternatives: the next best outputs, best first, where `num_return_sequences` asks for them.
        repaired: the kinds of the warnings that an earlier output had and this one has not.
    """

    text: str
    finish_reason: FinishReason
    input_tokens: int
    output_tokens: int
    truncated: bool
    lost: tuple[str, ...] = ()
    # Not compared: the last bits may depend on the other rows of a batch, with int8 graphs that have dynamic scales and
    # with some beam searches. The text does not.
    mean_log_probability: float | None = field(default=None, compare=False)
    scores: tuple[Score, ...] = field(default=(), compare=False, repr=False)
    alternatives: "tuple[TextOutput, ...]" = ()
    repaired: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean log-probability, rounded to the digits that do not depend on others."""
        if self.mean_log_probability is None:
            return None
        # With int8 models, digits after the third depend on the other rows of a batch.
        return round(self.mean_log_probability, 3)

    def confidence(self, manifest: Manifest) -> float | None:
        """Returns the confidence of a calibrated translation by a variant. None for all other outputs.

        The confidence of a summary hardly says anything (docs/decisions/027). The map from a mean log-probability to a
        confidence was fitted to outputs that ended by themselves.
        """
        calibration = manifest.confidence
        may_have_confidence = manifest.task is Task.TRANSLATION and self.finish_reason == "eos"
        if not may_have_confidence or calibration is None or self.mean_log_probability is None:
            return None
        return calibration.confidence(self.mean_log_probability)

    def cut(self, stops: Sequence[str]) -> "TextOutput":
        """Returns the output up to the first stop string, and its alternatives likewise."""
        if not stops:
            return self
        output = self
        if self.alternatives:
            output = replace(output, alternatives=tuple(each.cut(stops) for each in self.alternatives))
        if place_of_stop(self.text, stops) is not None:
            output = replace(output, text=before_stop(self.text, stops), finish_reason="stop")
        return output


def place_of_stop(text: str, stops: Sequence[str]) -> int | None:
    """Returns the position of the first stop string, None if there is none."""
    places = [text.find(stop) for stop in stops]
    return min((place for place in places if place >= 0), default=None)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Returns the text before the first stop string, without trailing space."""
    return text[: place_of_stop(text, stops)].rstrip()


def mean_log_probability(outputs: Sequence[TextOutput]) -> float | None:
    """Returns the mean over all tokens of outputs. It is None if a row with tokens has none, or no row has tokens."""
    total, tokens = 0.0, 0
    for output in outputs:
        if not output.output_tokens:
            continue
        if output.mean_log_probability is None:
            return None
        total += output.mean_log_probability * output.output_tokens
        tokens += output.output_tokens
    return total / tokens if tokens else None


def joined(text: str, outputs: Sequence[TextOutput]) -> TextOutput:
    """Returns the output of a text that was made of several outputs, such as one for each sentence."""
    reasons: list[FinishReason] = [output.finish_reason for output in outputs]
    return TextOutput(
        text=text,
        # `length` or `stop` of any of them counts for the text.
        finish_reason=next((reason for reason in ("length", "stop") if reason in reasons), "eos"),
        input_tokens=sum(output.input_tokens for output in outputs),
        output_tokens=sum(output.output_tokens for output in outputs),
        truncated=any(output.truncated for output in outputs),
        lost=tuple(lost for output in outputs for lost in output.lost),
        repaired=tuple(dict.fromkeys(kind for output in outputs for kind in output.repaired)),
        mean_log_probability=mean_log_probability(outputs),
    )


class TextGenerator:
    """An open artifact.

    `encode`, `check`, `stream`, `engine` and `output` may be called from any thread. `generate` may run in as many
    threads at a time as the artifact was opened for. `close` must be the last call.
    """

    def __init__(
        self, manifest: Manifest, configuration: ModelConfiguration, tokenizer: Tokenizer, runtime: Runtime
    ) -> None:
        self.manifest = manifest
        self.configuration = configuration
        self.runtime = runtime
        # The token to generate first where a request chose the target language.
        self.first_token: int | None = None
        # The checked options of earlier prompts, by the `repr` of what the prompt said.
        self.known_options: dict[str, GenerationOptions] = {}
        self.tokenizer = tokenizer

    @property
    def max_input_tokens(self) -> int:
        limit = self.manifest.generation.max_input_tokens
        return min(limit, self.configuration.max_positions or limit)

    def for_languages(self, source: str, target: str) -> Self:
        """Returns the same artifact with another language pair as its default.

        The languages are of the artifact's `sources` and `targets`.
        """
        other, generation = copy(self), self.manifest.generation
        target_token = generation.language_tokens[target]
        own_source_token = generation.source_language_token
        if own_source_token is None:
            # The token before a text chooses the target, as in Marian and MADLAD.
            generation = generation.model_copy(update={"prefix": f"{target_token} "})
        else:
            # The source's token marks the text, and the target's begins the output, as in mBART and NLLB.
            source_token = generation.language_tokens[source]
            other.tokenizer = self.tokenizer.marked_with(source_token, instead_of=own_source_token)
            other.first_token = self.tokenizer.id_of(target_token)
        changes = {"languages": [source, target], "generation": generation}
        other.manifest = self.manifest.model_copy(update=changes)
        return other

    @cached_property
    def default_options(self) -> GenerationOptions:
        options = self.manifest.generation.options()
        self.check(options)
        return options

    def check(self, options: GenerationOptions) -> None:
        """Checks that the model supports the options.

        Raises:
            InvalidOptions: `max_new_tokens` is above the model's positions, or `top_k` above its vocabulary size.
        """
        positions, vocabulary = self.configuration.max_positions, self.configuration.vocabulary
        if options.top_k > vocabulary:
            raise InvalidOptions(f"top_k is {options.top_k}; this model's vocabulary has {vocabulary} tokens")
        if positions is not None and options.max_new_tokens > positions - 1:
            raise InvalidOptions(
                f"max_new_tokens is {options.max_new_tokens}; this model has positions for {positions - 1}"
            )

    def encode(self, text: str, prefix: str | None = None) -> Encoding:
        """Encodes one text. `prefix` is put before it; None means the artifact's own prefix."""
        start = self.manifest.generation.prefix if prefix is None else prefix
        return self.tokenizer.encode(start + text, self.max_input_tokens)

    def encode_many(self, texts: Sequence[str], prefix: str | None = None) -> list[Encoding]:
        """Encodes texts as `encode` does, with the interpreter lock released."""
        start = self.manifest.generation.prefix if prefix is None else prefix
        return self.tokenizer.encode_many([start + text for text in texts], self.max_input_tokens)

    def force(self, text: str) -> ForcedOutput:
        """Encodes an output that is to be scored, as far as the model's positions go."""
        first = self.configuration.forced_bos_id if self.first_token is None else self.first_token
        # The start token takes a position too.
        max_tokens = min(self.configuration.max_positions or self.max_input_tokens, MAX_NEW_TOKENS + 1) - 1
        return self.tokenizer.encode_output(text, first, max_tokens)

    def stream(self) -> TextStream:
        return self.tokenizer.stream()

    def generate(
        self, inputs: Sequence[Encoding], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[TextOutput]:
        """Returns the outputs of inputs, in order. Inputs with an `output` are scored, the others are generated."""
        outputs = self._score(inputs, callbacks.is_cancelled if callbacks else None)
        generated_rows = [row for row in range(len(inputs)) if row not in outputs]
        on_token = callbacks.on_token if callbacks else None
        if outputs and callbacks and on_token:
            # The runtime numbers its own rows from 0 on.
            callbacks = replace(callbacks, on_token=lambda row, token: on_token(generated_rows[row], token))
        sequences = self.runtime.generate([inputs[row].ids for row in generated_rows], options, callbacks)
        for row, sequence in zip(generated_rows, sequences, strict=True):
            outputs[row] = self.output(inputs[row], sequence)
        return [outputs[row] for row in range(len(inputs))]

    def _score(self, inputs: Sequence[Encoding], is_cancelled: Callable[[], bool] | None) -> dict[int, TextOutput]:
        """Scores the inputs that have an `output`, until the caller cancels. Returns their outputs by row."""
        forced_ids = {row: each.output.ids for row, each in enumerate(inputs) if each.output}
        if not forced_ids:
            return {}
        # A runtime may score a row only when its values are asked for, so that a cancelled row costs nothing.
        values = iter(self.runtime.score([inputs[row].ids for row in forced_ids], list(forced_ids.values())))
        outputs = {}
        for row in forced_ids:
            sequence = GeneratedSequence([], "cancelled")
            if is_cancelled is None or not is_cancelled():
                sequence = GeneratedSequence([], "eos", log_probabilities=next(values))
            outputs[row] = self.output(inputs[row], sequence)
        return outputs

    def engine(self) -> Engine | None:
        """Returns an engine for continuous batching, or None if the runtime has none."""
        return self.runtime.engine() if isinstance(self.runtime, ContinuousRuntime) else None

    def output(self, encoding: Encoding, sequence: GeneratedSequence) -> TextOutput:
        """Returns the output of a row's sequence: its text, or for a scored row the given text with scores."""
        reason = sequence.finish_reason
        forced = encoding.output
        if forced:
            scored = zip(forced.places, sequence.log_probabilities, strict=False)
            scores = tuple(Score(*place, value) for place, value in scored)
            return TextOutput(forced.text, reason, len(encoding.ids), 0, truncated=False, scores=scores)
        return TextOutput(
            text=self.tokenizer.decode(sequence.ids),
            finish_reason=reason,
            input_tokens=len(encoding.ids),
            output_tokens=len(sequence.ids),
            truncated=encoding.is_truncated,
            mean_log_probability=sequence.mean_log_probability,
            alternatives=tuple(self.output(encoding, each) for each in sequence.alternatives),
        )

    def close(self) -> None:
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_generator(
    store: Store, task: Task, variant: str, runtime: str | None = None, threads: int = 0, workers: int = 1
) -> TextGenerator:
    """Copies an artifact's files to a private folder, verifies the copy, and opens it.

    Args:
        store: the store of the artifact.
        task: the artifact's task.
        variant: the artifact's name.
        runtime: a runtime's name; None means the first one that can open the artifact.
        threads: the threads of one generation; 0 lets the runtime choose.
        workers: how many generations may run at the same time.

    Raises:
        UnknownVariant, InvalidArtifact, CorruptArtifact: as `Store.verify` does.
        RuntimeUnavailable: no installed runtime opens the artifact.
        Unprepared: files that the runtime needs are not built and cannot be built here.
        CannotWrite: the temporary folder (`TMPDIR`) has no space for the copy.
    """
    # Read before the copy, which also reads it: the runtime decides which files are copied.
    manifest = store.manifest(task, variant)
    kind = runtimes_for(store, manifest, runtime)[0]
    if kind.builder is not None:
        try:
            kind.builder(store, task, variant)
        except CannotWrite as error:
            raise Unprepared(f"{task}/{variant}", f"its {kind.format} files are not built: {error}") from error
    with store.private_copy(task, variant, kind.format) as (folder, manifest):
        configuration = read_configuration(folder)
        targets = configuration.vocabulary
        return TextGenerator(
            manifest=manifest,
            configuration=configuration,
            tokenizer=Tokenizer(folder, sources=configuration.source_vocabulary or targets, targets=targets),
            runtime=kind.opener()(folder, threads=threads, workers=workers),
        )


def runtimes_for(store: Store, manifest: Manifest, name: str | None = None) -> list[RuntimeKind]:
    """Returns the runtimes that can open an artifact here, in order of preference; with a name, only that one.

    Raises:
        RuntimeUnavailable: the runtime is unknown, or none can open this artifact.
        CorruptArtifact: files that every runtime needs are missing; names one.
        Unprepared: files that every runtime needs are not built and cannot be built here.
        InvalidArtifact: the record of an export cannot be read.
    """
    artifact = f"{manifest.task}/{manifest.variant}"
    kinds = [runtime_named(name)] if name else list(RUNTIMES.values())
    with_files = [kind for kind in kinds if kind.has_files(store, manifest)]
    if not with_files:
        wanted = " or ".join(dict.fromkeys(kind.format for kind in kinds))
        raise RuntimeUnavailable(f"{artifact} has no {wanted} files; {_advice(store, manifest, wanted)}")
    installed = [kind for kind in with_files if kind.is_installed]
    if not installed:
        missing = " or ".join(dict.fromkeys(kind.library for kind in with_files))
        raise RuntimeUnavailable(f"{artifact} needs {missing}, which is not installed here")
    obstacles = [kind.obstacle(store, manifest) for kind in installed]
    possible = [kind for kind, obstacle in zip(installed, obstacles, strict=True) if obstacle is None]
    if not possible:
        raise next(obstacle for obstacle in obstacles if obstacle is not None)
    return possible


def _advice(store: Store, manifest: Manifest, wanted: str) -> str:
    """Returns the command that makes the missing files or, where there is none, the runtimes that work."""
    if manifest.has_format("safetensors"):
        refusals = {each.artifact_family: each.ctranslate2_refusal for each in FAMILIES.values()}
        reason = refusals.get(manifest.family, "")
        if not reason:
            export = f"slimseq export {manifest.task} {manifest.variant} --format ctranslate2 --store STORE"
            return f"make them with `{export}`"
    elif wanted == "safetensors":
        reason = ""
    else:
        reason = "it has no safetensors to make them from"
    usable = [kind.name for kind in RUNTIMES.values() if kind.has_files(store, manifest)]
    advice = f"{' and '.join(usable) or 'no runtime'} can open it"
    return f"{reason}; {advice}" if reason else advice
