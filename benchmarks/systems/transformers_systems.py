"""The systems that have transformers' `generate`: PyTorch, optimum's ONNX Runtime and optimum-intel's OpenVINO.

optimum and optimum-intel need other versions of transformers, so each has an environment of its own (CONTRIBUTING.md).
"""

from typing import Any

from benchmarks.systems.place import Generate, Place, Rows, making
from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import cpu_flags
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.generation import GenerationOptions

OPTIMUM_GRAPHS = ("encoder_model", "decoder_model", "decoder_with_past_model")
# Flags of the CPU, the fastest first, and the name of optimum's quantization for it.
OPTIMUM_KINDS = {"avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2", "asimd": "arm64"}
# What OpenVINO's documentation advises where one batch is generated at a time: one stream, which gets all threads. Its
# default for the cache, 8 bits, gives wrong outputs of a beam search that is longer than the first one (2026.4.1): they
# end too early. A cache in 32 bits gives those of transformers.
OPENVINO_SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "KV_CACHE_PRECISION": "f32",
}


def optimum(place: Place, layout: Layout) -> Generate:
    from onnxruntime import SessionOptions
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import AutoQuantizationConfig, ORTModelForSeq2SeqLM, ORTQuantizer

    folder, quantized = place.folder / "optimum", place.folder / "optimum-int8"
    if not quantized.exists():
        # Three graphs, as `ORTModelForSeq2SeqLM.from_pretrained(..., export=True)` makes them.
        task = "text2text-generation-with-past"
        main_export(str(place.original), folder, task=task, dtype="fp32", do_validation=False, no_post_process=True)
        kind = next((OPTIMUM_KINDS[flag] for flag in OPTIMUM_KINDS if flag in cpu_flags()), "avx2")
        with making(quantized) as new:
            for name in OPTIMUM_GRAPHS:
                config = getattr(AutoQuantizationConfig, kind)(is_static=False, per_channel=False)
                quantizer = ORTQuantizer.from_pretrained(folder, file_name=f"{name}.onnx")
                quantizer.quantize(save_dir=new, quantization_config=config)
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
    return _with_generate(model, place)


def openvino(place: Place, layout: Layout) -> Generate:
    """Opens optimum-intel's model with int8 weights, an encoder and a decoder that keeps its cache (stateful)."""
    from optimum.intel import OVModelForSeq2SeqLM, OVWeightQuantizationConfig

    folder = place.folder / "openvino-int8"
    if not folder.exists():
        int8 = OVWeightQuantizationConfig(bits=8)
        exported = OVModelForSeq2SeqLM.from_pretrained(
            str(place.original), export=True, quantization_config=int8, compile=False, local_files_only=True
        )
        with making(folder) as new:
            exported.save_pretrained(new)
    settings = {**OPENVINO_SETTINGS, "INFERENCE_NUM_THREADS": str(layout.threads)}
    model = OVModelForSeq2SeqLM.from_pretrained(str(folder), export=False, ov_config=settings, local_files_only=True)
    return _with_generate(model, place)


def transformers(place: Place, layout: Layout) -> Generate:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(place.original, dtype=torch.float32, local_files_only=True)
    return _with_generate(model.eval(), place, layout.threads)


def _with_generate(model: Any, place: Place, torch_threads: int = 1) -> Generate:
    """Returns transformers' `generate`, which optimum's models have too.

    `torch_threads` is more than one where torch runs the model. Its threads would take the cores of another runtime.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import GenerationConfig

    torch.set_num_threads(torch_threads)
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
