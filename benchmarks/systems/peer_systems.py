"""The systems that `benchmarks.peers` compares: how each converts a model's safetensors, opens them and generates.

Each system runs in a process of its own, so libraries are imported where they are used. Plain CTranslate2 reads the
same files as our runtime for it, because the library's converter needs a known vocabulary.
"""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from benchmarks.systems.child import peak_bytes
from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import cpu_flags
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from ctranslate2 import Translator

Rows = Sequence[Sequence[int]]
# Generates for a batch. Returns the ids of each output, end tokens included, and padding where a system has it.
Generate = Callable[[Rows, GenerationOptions], list[list[int]]]
ComputeType = Literal["float32", "int8"]

ORIGINAL, QUANTIZED = "original", "quantized"
OPTIMUM_GRAPHS = ("encoder_model", "decoder_model", "decoder_with_past_model")
# Flags of the CPU, the fastest first, and the name of optimum's quantization for it.
OPTIMUM_KINDS = {"avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2", "asimd": "arm64"}
# A search without early stopping ends when it has this many finished hypotheses for each beam, as in Slimseq's
# CTranslate2 runtime.
PATIENCE = 3.0
# Rows of a batch of `translate_iterable`, its default.
ITERABLE_BATCH = 32
# Writing 5 to this file resets the peak of memory on Linux (proc(5)).
CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Place:
    """Where a model is."""

    # For the files that systems make of the model.
    folder: Path
    # With the safetensors: the folder of a variant in a store.
    original: Path
    task: Task


def _our_onnxruntime(place: Place, layout: Layout) -> Generate:
    store = Store(place.original.parents[1])
    if QUANTIZED not in store.variants(place.task):
        from slimseq.compression.context import Context
        from slimseq.compression.quantize.quantize import quantize

        quantize(Context(store), place.task, place.original.name, QUANTIZED)
    return _ours("onnxruntime", store.folder(place.task, QUANTIZED), layout)


def _ours(runtime_name: str, folder: Path, layout: Layout) -> Generate:
    runtime = runtime_named(runtime_name).opener()(folder, threads=layout.threads, workers=layout.workers)
    workers = ThreadPoolExecutor(layout.workers)
    # If a model forces its end token, our CTranslate2 runtime appends the token without a search. An output of one
    # token would then cost nothing, so it generates two.
    skips_last = runtime_name == "ctranslate2" and read_configuration(folder).forced_eos_id is not None

    def generate(rows: Rows, options: GenerationOptions) -> list[list[int]]:
        if skips_last and options.max_new_tokens == 1:
            options = options.model_copy(update={"min_new_tokens": 2, "max_new_tokens": 2})
        found = workers.map(lambda part: runtime.generate(part, options), layout.parts(rows))
        return [list(output.ids) for outputs in found for output in outputs]

    return generate


def ctranslate2_files(compute_type: ComputeType, place: Place) -> Path:
    """Returns the folder of an artifact in CTranslate2's format, made if it is missing."""
    folder = place.folder / f"ctranslate2-{compute_type}"
    if not folder.exists():
        from slimseq.compression.export.ctranslate2_converter import export_ctranslate2

        export_ctranslate2(place.original, folder / "ctranslate2", compute_type)
        for path in place.original.glob("*config.json"):
            shutil.copy(path, folder)
    return folder


@dataclass(frozen=True)
class _CTranslate2:
    """An open CTranslate2 model that takes token ids, as all systems here do."""

    translator: "Translator"
    tokens: Sequence[str]
    forced: int | None
    """The token with which each output begins, if the model has one."""

    @classmethod
    def opened(cls, compute_type: ComputeType, place: Place, layout: Layout) -> Self:
        from ctranslate2 import Translator

        folder = ctranslate2_files(compute_type, place) / "ctranslate2"
        threads = {"inter_threads": layout.workers, "intra_threads": layout.threads}
        return cls(
            translator=Translator(str(folder), compute_type=compute_type, **threads),
            tokens=json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8")),
            forced=read_configuration(place.original).forced_bos_id,
        )

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: token_id for token_id, token in enumerate(self.tokens)}

    def sources(self, rows: Rows) -> list[list[str]]:
        return [[self.tokens[token] for token in row] for row in rows]

    def prefixes(self, rows: Rows) -> list[list[str]] | None:
        return None if self.forced is None else [[self.tokens[self.forced]] for _ in rows]

    def outputs(self, results: Iterable[Any]) -> list[list[int]]:
        return [[self.ids[token] for token in result.hypotheses[0]] for result in results]


def _search_of_ctranslate2(options: GenerationOptions) -> dict[str, Any]:
    """Returns the options of a search, as CTranslate2 calls them."""
    return {
        "beam_size": options.num_beams,
        "patience": 1.0 if options.early_stopping or options.num_beams == 1 else PATIENCE,
        "length_penalty": options.length_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "min_decoding_length": options.min_new_tokens,
        "max_decoding_length": options.max_new_tokens,
        "max_input_length": 0,
        "return_end_token": True,
    }


def ctranslate2(compute_type: ComputeType, place: Place, layout: Layout, has_parts: bool = True) -> Generate:
    model = _CTranslate2.opened(compute_type, place, layout)

    def generate(rows: Rows, options: GenerationOptions) -> list[list[int]]:
        results = model.translator.translate_batch(
            model.sources(rows),
            target_prefix=model.prefixes(rows),
            # With `has_parts`, each of the library's workers gets its part of the rows.
            max_batch_size=math.ceil(len(rows) / layout.workers) if has_parts else len(rows),
            **_search_of_ctranslate2(options),
        )
        return model.outputs(results)

    return generate


def _ctranslate2_iterable(place: Place, layout: Layout) -> Generate:
    """Opens CTranslate2 as its documentation translates a file: `translate_iterable` batches what it reads."""
    model = _CTranslate2.opened("int8", place, layout)

    def generate(rows: Rows, options: GenerationOptions) -> list[list[int]]:
        results = model.translator.translate_iterable(
            model.sources(rows),
            target_prefix=model.prefixes(rows),
            max_batch_size=ITERABLE_BATCH,
            **_search_of_ctranslate2(options),
        )
        return model.outputs(results)

    return generate


def _optimum(place: Place, layout: Layout) -> Generate:
    from onnxruntime import SessionOptions
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import AutoQuantizationConfig, ORTModelForSeq2SeqLM, ORTQuantizer

    folder, quantized = place.folder / "optimum", place.folder / "optimum-int8"
    if not quantized.exists():
        # Three graphs, as `ORTModelForSeq2SeqLM.from_pretrained(..., export=True)` makes them.
        task = "text2text-generation-with-past"
        main_export(str(place.original), folder, task=task, dtype="fp32", do_validation=False, no_post_process=True)
        kind = next((OPTIMUM_KINDS[flag] for flag in OPTIMUM_KINDS if flag in cpu_flags()), "avx2")
        for name in OPTIMUM_GRAPHS:
            config = getattr(AutoQuantizationConfig, kind)(is_static=False, per_channel=False)
            quantizer = ORTQuantizer.from_pretrained(folder, file_name=f"{name}.onnx")
            quantizer.quantize(save_dir=quantized, quantization_config=config)
    options = SessionOptions()
    options.intra_op_num_threads = layout.threads
    encoder, decoder, with_past = (f"{graph}_quantized.onnx" for graph in OPTIMUM_GRAPHS)
    model = ORTModelForSeq2SeqLM.from_pretrained(
        quantized,
        encoder_file_name=encoder,
        decoder_file_name=decoder,
        decoder_with_past_file_name=with_past,
        use_merged=False,
        session_options=options,
        local_files_only=True,
    )
    return _with_generate(model, place, layout)


def _transformers(place: Place, layout: Layout) -> Generate:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(place.original, dtype=torch.float32, local_files_only=True)
    return _with_generate(model.eval(), place, layout)


def _with_generate(model: Any, place: Place, layout: Layout) -> Generate:
    """Returns transformers' `generate`, which optimum's models have too."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import GenerationConfig

    torch.set_num_threads(layout.threads)
    known = read_configuration(place.original)

    def generate(rows: Rows, options: GenerationOptions) -> list[list[int]]:
        # If the config were an argument of `generate`, transformers 5 would fill it up with the model's own options.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            **options.model_dump(exclude={"seed"}),
            pad_token_id=known.pad_id,
            eos_token_id=known.eos_id,
            decoder_start_token_id=known.decoder_start_id,
            forced_bos_token_id=known.forced_bos_id,
            forced_eos_token_id=known.forced_eos_id,
        )
        tensors = [torch.tensor(row) for row in rows]
        with torch.inference_mode():
            outputs = model.generate(
                input_ids=pad_sequence(tensors, batch_first=True, padding_value=known.pad_id),
                attention_mask=pad_sequence([torch.ones_like(tensor) for tensor in tensors], batch_first=True),
            )
        # The decoder's start token is no output.
        return [list(ids) for ids in outputs[:, 1:].tolist()]

    return generate


# Each function makes the files of a model that are missing, and opens them.
SYSTEMS: dict[str, Callable[[Place, Layout], Generate]] = {
    "slimseq-onnxruntime-int8": _our_onnxruntime,
    "slimseq-ctranslate2-int8": lambda place, layout: _ours("ctranslate2", ctranslate2_files("int8", place), layout),
    "transformers-fp32": _transformers,
    "optimum-int8": _optimum,
    "ctranslate2-int8": partial(ctranslate2, "int8"),
    "ctranslate2-iterable-int8": _ctranslate2_iterable,
}
# The open system of this process.
_open: list[Generate] = []


def open_system(system: str, place: Place, layout: Layout) -> None:
    _open[:] = [SYSTEMS[system](place, layout)]


def generate(rows: Rows, options: GenerationOptions, is_first: bool) -> tuple[float, int, int]:
    """Generates once. Returns seconds, the outputs' tokens, and the peak of memory since the last `is_first`."""
    if is_first:
        with contextlib.suppress(OSError):
            CLEAR_REFS.write_text("5", encoding="ascii")
    started = time.perf_counter()
    outputs = _open[0](rows, options)
    return time.perf_counter() - started, sum(map(len, outputs)), peak_bytes()
