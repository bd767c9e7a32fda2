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
from benchmarks.systems.place import Generate, Place, Rows, making
from benchmarks.systems.transformers_systems import openvino, optimum, transformers
from slimseq.evaluation.fastest import Layout
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from ctranslate2 import Translator

ComputeType = Literal["float32", "int8"]

ORIGINAL, QUANTIZED = "original", "quantized"
# A search without early stopping ends when it has this many finished hypotheses for each beam, as in Slimseq's
# CTranslate2 runtime.
PATIENCE = 3.0
# Rows of a batch of `translate_iterable`, its default.
ITERABLE_BATCH = 32
# Writing 5 to this file resets the peak of memory on Linux (proc(5)).
CLEAR_REFS = Path("/proc/self/clear_refs")


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

        with making(folder) as new:
            export_ctranslate2(place.original, new / "ctranslate2", compute_type)
            for path in place.original.glob("*config.json"):
                shutil.copy(path, new)
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


# Each function makes the files of a model that are missing, and opens them.
SYSTEMS: dict[str, Callable[[Place, Layout], Generate]] = {
    "slimseq-onnxruntime-int8": _our_onnxruntime,
    "slimseq-ctranslate2-int8": lambda place, layout: _ours("ctranslate2", ctranslate2_files("int8", place), layout),
    "transformers-fp32": transformers,
    "optimum-int8": optimum,
    "ctranslate2-int8": partial(ctranslate2, "int8"),
    "ctranslate2-iterable-int8": _ctranslate2_iterable,
    "openvino-int8": openvino,
}
# The open system of this process.
_open: list[Generate] = []


def open_system(system: str, place: Place, layout: Layout) -> float:
    """Opens a system in this process. Returns the seconds, which include the import of its libraries."""
    started = time.perf_counter()
    _open[:] = [SYSTEMS[system](place, layout)]
    return time.perf_counter() - started


def generate(rows: Rows, options: GenerationOptions, is_first: bool) -> tuple[float, int, int]:
    """Generates once. Returns seconds, the outputs' tokens, and the peak of memory since the last `is_first`."""
    if is_first:
        with contextlib.suppress(OSError):
            CLEAR_REFS.write_text("5", encoding="ascii")
    started = time.perf_counter()
    outputs = _open[0](rows, options)
    return time.perf_counter() - started, sum(map(len, outputs)), peak_bytes()
