"""The systems that `benchmarks.peers` compares: how each is made of a model's safetensors, opened, and asked.

All this runs in processes of their own (`benchmarks.child`), so libraries are imported where they are used. Plain
CTranslate2 reads the same files as our runtime for it: the library's own converter knows no made-up vocabulary.
Where a model forces its end token, our CTranslate2 runtime appends it without a search: one step less than the others.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.child import peak_bytes
from slimseq.evaluation.fastest import Layout, even_layouts
from slimseq.evaluation.host import cpu_flags
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.models_store.manifest import GenerationOptions, Task
from slimseq.models_store.store import Store

Rows = Sequence[Sequence[int]]
# Generates for a batch; returns how many tokens all outputs have, end tokens included.
Generate = Callable[[Rows, GenerationOptions], int]
ComputeType = Literal["float32", "int8"]

ORIGINAL, QUANTIZED = "original", "quantized"
OPTIMUM_GRAPHS = ("encoder_model", "decoder_model", "decoder_with_past_model")
OPTIMUM_KINDS = {"avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2", "asimd": "arm64"}
# Writing 5 here makes Linux count the peak of memory from now on.
CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Place:
    """One model's folder: a store with its safetensors as `TASK/original`, and what systems make of them beside it."""

    folder: Path
    task: Task

    @property
    def store(self) -> Store:
        """Holds the model."""
        return Store(self.folder / "store")

    @property
    def original(self) -> Path:
        """The folder with the safetensors."""
        return self.store.folder(self.task, ORIGINAL)


@dataclass(frozen=True)
class System:
    """Something that generates.

    Args:
        prepare: makes its files, where they are not there yet.
        open: loads them.
        has_layouts: whether cores may go to one batch or, as parts of a batch, to as many generations.
    """

    prepare: Callable[[Place], None]
    open: Callable[[Place, Layout], Generate]
    has_layouts: bool = False

    def layouts(self, threads: int) -> list[Layout]:
        """Returns how so many threads may be shared out."""
        return even_layouts(threads) if self.has_layouts else [Layout(1, threads)]


def _build_graphs(place: Place) -> None:
    from slimseq.inference.graphs.on_demand import export_artifact

    if not place.store.has_format(place.task, ORIGINAL, "onnx"):
        export_artifact(place.store, place.task, ORIGINAL)


def _quantize(place: Place) -> None:
    from slimseq.compression.context import Context
    from slimseq.compression.quantize.quantize import QuantizeOptions, quantize

    if QUANTIZED not in place.store.variants(place.task):
        quantize(Context(place.store), place.task, ORIGINAL, QUANTIZED, options=QuantizeOptions(scheme="int8-dynamic"))


def _export_ctranslate2(compute_type: ComputeType, place: Place) -> None:
    from slimseq.compression.export.ctranslate2 import export_ctranslate2

    folder = place.folder / f"ctranslate2-{compute_type}"
    if not folder.exists():
        export_ctranslate2(place.original, folder / "ctranslate2", compute_type)
        for path in place.original.glob("*config.json"):
            shutil.copy(path, folder)


def _export_with_optimum(place: Place) -> None:
    from optimum.exporters.onnx import main_export

    folder = place.folder / "optimum"
    if not folder.exists():
        # Three graphs, as `ORTModelForSeq2SeqLM.from_pretrained(..., export=True)` makes them.
        task = "text2text-generation-with-past"
        main_export(str(place.original), folder, task=task, dtype="fp32", do_validation=False, no_post_process=True)


def _quantize_with_optimum(place: Place) -> None:
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    _export_with_optimum(place)
    flags = cpu_flags()
    kind = next((OPTIMUM_KINDS[flag] for flag in OPTIMUM_KINDS if flag in flags), "avx2")
    for name in OPTIMUM_GRAPHS:
        config = getattr(AutoQuantizationConfig, kind)(is_static=False, per_channel=False)
        quantizer = ORTQuantizer.from_pretrained(place.folder / "optimum", file_name=f"{name}.onnx")
        quantizer.quantize(save_dir=place.folder / "optimum-int8", quantization_config=config)


def _open_ours(runtime_name: str, folder_of: Callable[[Place], Path], place: Place, layout: Layout) -> Generate:
    folder = folder_of(place)
    runtime = runtime_named(runtime_name).opener()(folder, threads=layout.threads, workers=layout.workers)
    workers = ThreadPoolExecutor(layout.workers)
    # Our CTranslate2 runtime does not search for an end token that is forced: one token would cost it nothing.
    skips_last = runtime_name == "ctranslate2" and read_configuration(folder).forced_eos_id is not None

    def generate(rows: Rows, options: GenerationOptions) -> int:
        if skips_last and options.max_new_tokens == 1:
            options = options.model_copy(update={"min_new_tokens": 2, "max_new_tokens": 2})
        found = workers.map(lambda part: runtime.generate(part, options), layout.parts(rows))
        return sum(len(output.ids) for outputs in found for output in outputs)

    return generate


def _open_transformers(dtype: str, place: Place, layout: Layout) -> Generate:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    type_ = getattr(torch, dtype)
    model = AutoModelForSeq2SeqLM.from_pretrained(place.original, dtype=type_, local_files_only=True)
    return _with_generate(model.eval(), place, layout)


def _open_optimum(name: str, suffix: str, place: Place, layout: Layout) -> Generate:
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    options = SessionOptions()
    options.intra_op_num_threads = layout.threads
    encoder, decoder, with_past = (f"{graph}{suffix}.onnx" for graph in OPTIMUM_GRAPHS)
    model = ORTModelForSeq2SeqLM.from_pretrained(
        place.folder / name,
        encoder_file_name=encoder,
        decoder_file_name=decoder,
        decoder_with_past_file_name=with_past,
        use_merged=False,
        session_options=options,
        local_files_only=True,
    )
    return _with_generate(model, place, layout)


def _with_generate(model: Any, place: Place, layout: Layout) -> Generate:
    """Returns transformers' `generate`, which optimum's models have too."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import GenerationConfig

    torch.set_num_threads(layout.threads)
    known = read_configuration(place.original)

    def generate(rows: Rows, options: GenerationOptions) -> int:
        config = GenerationConfig(  # type: ignore[no-untyped-call]
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
                generation_config=config,
                use_model_defaults=False,
            )
        # The decoder's start token is no output.
        return len(rows) * (int(outputs.shape[1]) - 1)

    return generate


def _open_ctranslate2(compute_type: ComputeType, place: Place, layout: Layout) -> Generate:
    import ctranslate2

    folder = place.folder / f"ctranslate2-{compute_type}" / "ctranslate2"
    threads = {"inter_threads": layout.workers, "intra_threads": layout.threads}
    translator = ctranslate2.Translator(str(folder), compute_type=compute_type, **threads)
    tokens = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
    forced = read_configuration(place.original).forced_bos_id

    def generate(rows: Rows, options: GenerationOptions) -> int:
        results = translator.translate_batch(
            [[tokens[token] for token in row] for row in rows],
            target_prefix=None if forced is None else [[tokens[forced]] for _ in rows],
            # Each of the library's workers gets its part.
            max_batch_size=-(-len(rows) // layout.workers),
            beam_size=options.num_beams,
            length_penalty=options.length_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            min_decoding_length=options.min_new_tokens,
            max_decoding_length=options.max_new_tokens,
            max_input_length=0,
            return_end_token=True,
        )
        return sum(len(result.hypotheses[0]) for result in results)

    return generate


def _on_onnx(prepare: Callable[[Place], None], variant: str) -> System:
    opener = partial(_open_ours, "onnxruntime", lambda place: place.store.folder(place.task, variant))
    return System(prepare, opener, has_layouts=True)


def _on_ctranslate2(compute_type: ComputeType, *, is_ours: bool) -> System:
    ours = partial(_open_ours, "ctranslate2", lambda place: place.folder / f"ctranslate2-{compute_type}")
    opener = ours if is_ours else partial(_open_ctranslate2, compute_type)
    return System(partial(_export_ctranslate2, compute_type), opener, has_layouts=True)


SYSTEMS: dict[str, System] = {
    "slimseq-onnxruntime-fp32": _on_onnx(_build_graphs, ORIGINAL),
    "slimseq-onnxruntime-int8": _on_onnx(_quantize, QUANTIZED),
    "slimseq-ctranslate2-fp32": _on_ctranslate2("float32", is_ours=True),
    "slimseq-ctranslate2-int8": _on_ctranslate2("int8", is_ours=True),
    "transformers-fp32": System(lambda place: None, partial(_open_transformers, "float32")),
    "transformers-bf16": System(lambda place: None, partial(_open_transformers, "bfloat16")),
    "optimum-fp32": System(_export_with_optimum, partial(_open_optimum, "optimum", "")),
    "optimum-int8": System(_quantize_with_optimum, partial(_open_optimum, "optimum-int8", "_quantized")),
    "ctranslate2-fp32": _on_ctranslate2("float32", is_ours=False),
    "ctranslate2-int8": _on_ctranslate2("int8", is_ours=False),
}
# What this process has open.
_open: list[Generate] = []


def prepare_system(system: str, place: Place) -> None:
    """Makes a system's files."""
    SYSTEMS[system].prepare(place)


def open_system(system: str, place: Place, layout: Layout) -> None:
    """Opens a system in this process."""
    _open.append(SYSTEMS[system].open(place, layout))


def generate(rows: Rows, options: GenerationOptions, is_first: bool) -> tuple[float, int, int]:
    """Generates once; returns seconds, the outputs' tokens, and the peak of memory since `is_first` last came."""
    if is_first:
        with contextlib.suppress(OSError):
            CLEAR.write_text("5", encoding="ascii")
    started = time.perf_counter()
    tokens = _open[-1](rows, options)
    return time.perf_counter() - started, tokens, peak_bytes()
