"""The PyTorch runtime: transformers' own `generate`, in fp32 on the CPU.

It is the reference: other runtimes must give the same token ids. A serving install does not have it.
"""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.inference.decoding.search import finish_reason
from slimseq.inference.models.configuration import ModelConfiguration, read_configuration
from slimseq.inference.models.pretrained import load_pretrained
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.separate import SEED_LOCK, each_alone, generate_in_groups
from slimseq.models_store.errors import BadSource, InvalidArtifact
from slimseq.models_store.files import relative_to_store, short_name
from slimseq.models_store.generation import GenerationOptions

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel


# transformers warns about these options without sampling.
SAMPLING_OPTIONS = ("temperature", "top_k", "top_p")


class TorchRuntime:
    """One artifact's transformers model, on the CPU.

    `threads` is the number of threads of the whole process; 0 keeps PyTorch's default.
    """

    name = "torch"

    def __init__(self, model: "PreTrainedModel", configuration: ModelConfiguration, threads: int) -> None:
        from transformers import GenerationConfig

        self._model: Any = model
        # The model's own settings would replace what a request leaves out.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self._configuration = configuration
        self._threads = threads

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row, as `Runtime.generate` says. `on_token` is called after a row has ended.

        Each row runs alone: a longer one would pad the others, which changes near ties.
        """
        return generate_in_groups(self._generate, each_alone(rows), rows, options, callbacks)

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        import torch

        for row, ids in zip(rows, outputs, strict=True):
            with torch.inference_mode():
                source = torch.tensor([row])
                target = torch.tensor([[self._configuration.decoder_start_id, *ids]])
                logits = self._model(input_ids=source, decoder_input_ids=target[:, :-1]).logits[0].float()
                log_probabilities = logits.log_softmax(-1).gather(1, target[0, 1:, None])[:, 0].tolist()
            yield log_probabilities

    def close(self) -> None:
        del self._model

    def _generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)
        ids = torch.tensor(rows)
        was_cancelled = False

        def stop(_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            nonlocal was_cancelled
            was_cancelled = was_cancelled or bool(callbacks.is_cancelled and callbacks.is_cancelled())
            return torch.full((_ids.shape[0],), was_cancelled, dtype=torch.bool)

        lock = SEED_LOCK if options.do_sample else nullcontext()
        with lock, torch.inference_mode():
            if options.do_sample and options.seed is None:
                torch.seed()
            elif options.do_sample:
                torch.manual_seed(options.seed)
            outputs = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=self._generation_config(options),
                **self._caches(),
                stopping_criteria=[stop] if callbacks.is_cancelled else None,
            )
        found = [self._sequence(output, options, was_cancelled=was_cancelled) for output in outputs.tolist()]
        # The outputs of a row follow each other, best first.
        count = options.num_return_sequences
        sequences: list[GeneratedSequence] = []
        for start in range(0, len(found), count):
            best, *others = found[start : start + count]
            sequences.append(replace(best, alternatives=tuple(others)))
        if callbacks.on_token is not None:
            for row, sequence in enumerate(sequences):
                for token in sequence.ids:
                    callbacks.on_token(row, token)
        return sequences

    def _sequence(self, output: list[int], options: GenerationOptions, *, was_cancelled: bool) -> GeneratedSequence:
        """Returns the sequence of an output of transformers, which has the start token and may have padding."""
        ids = self._trim(output[1:], was_cancelled=was_cancelled)
        reason = finish_reason(ids, options.max_new_tokens, self._configuration)
        if was_cancelled and reason == "length":
            reason = "cancelled"
        return GeneratedSequence(ids, reason)

    def _caches(self) -> dict[str, Any]:
        """Returns the argument with empty caches, which grow by layer.

        Without it, transformers makes caches for as many layers as the encoder of a T5 has, not the decoder.
        """
        import transformers

        name = "past_key_values" if transformers.__version__.startswith("4.") else "cache"
        caches = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
        return {name: caches}

    def _trim(self, ids: list[int], *, was_cancelled: bool) -> list[int]:
        """Removes what follows the end token, or the padding of a cancelled row.

        The padding of other rows stays: a model may generate the padding token.
        """
        end, pad = self._configuration.eos_id, self._configuration.pad_id
        if end in ids:
            return ids[: ids.index(end) + 1]
        while was_cancelled and ids and ids[-1] == pad:
            ids = ids[:-1]
        return ids

    def _generation_config(self, options: GenerationOptions) -> "GenerationConfig":
        from transformers import GenerationConfig

        configuration = self._configuration
        fields = options.model_dump(exclude={"seed"} if options.do_sample else {"seed", *SAMPLING_OPTIONS})
        return GenerationConfig(  # type: ignore[no-untyped-call]
            **fields,
            pad_token_id=configuration.pad_id,
            eos_token_id=configuration.eos_id,
            decoder_start_token_id=configuration.decoder_start_id,
            forced_bos_token_id=configuration.first_token(options),
            forced_eos_token_id=configuration.forced_eos_id,
        )


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> TorchRuntime:
    """Opens an artifact's safetensors in fp32 on the CPU, as `RuntimeOpener` says. All workers share the `threads`.

    Raises:
        InvalidArtifact: transformers cannot load the folder, or loads another model than its files hold.
    """
    load_library()
    import torch

    try:
        model = load_pretrained(folder, torch.float32)
    except BadSource as error:
        reason = relative_to_store(str(error), folder)
        raise InvalidArtifact(f"{short_name(folder / 'model.safetensors')} cannot be opened: {reason}") from error
    return TorchRuntime(model, read_configuration(folder), threads)


def load_library() -> None:
    """Loads PyTorch's library ahead of `import torch`, which would hold the interpreter lock for up to a second.

    A function that is called through `ctypes` runs without the lock, such as `dlopen` here. Where the library is not
    found, nothing happens.
    """
    package = importlib.util.find_spec("torch")
    if package is None or package.origin is None or "torch" in sys.modules:
        return
    library = Path(package.origin).parent / "lib" / "libtorch_cpu.so"
    if library.exists():
        load = ctypes.CDLL(None).dlopen
        load.argtypes, load.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
        load(os.fsencode(library), os.RTLD_NOW)
