"""The `torch-bf16` runtime: PyTorch in bfloat16, on a GPU with static caches if there is one, else on the CPU.

It does not use float16, in which T5's feed-forward layers overflow.
"""

from pathlib import Path

from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.torch import TorchRuntime, load_library, load_model


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> TorchRuntime:
    """Opens an artifact's safetensors.

    Args:
        folder: the artifact's folder.
        threads: intra-operator threads, for the whole process; 0 keeps PyTorch's default.
        workers: generations that may run at the same time; on a GPU they run one after the other.

    Raises:
        InvalidArtifact: transformers cannot load the folder.
    """
    load_library()
    import torch

    model = load_model(folder, torch.bfloat16)
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        model.to("cuda")  # type: ignore[arg-type]
    return TorchRuntime("torch-bf16", model, read_configuration(folder), threads, has_static_caches=has_gpu)
