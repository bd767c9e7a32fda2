"""PyTorch in bfloat16: on a GPU with caches made once, where there is one, else on the CPU.

bfloat16 and not float16, in which a T5's feed-forward overflows.
"""

from pathlib import Path

from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtimes.torch import TorchRuntime, load_model


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> TorchRuntime:
    """Opens an artifact's safetensors.

    Args:
        folder: the artifact's folder.
        threads: intra-operator threads, for the whole process; 0 leaves PyTorch's default.
        workers: on a GPU, generations take turns.

    Raises:
        InvalidArtifact: transformers cannot load the folder.
    """
    import torch

    model = load_model(folder, torch.bfloat16)
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        model.to("cuda")  # type: ignore[arg-type]
    return TorchRuntime("torch-bf16", model, read_configuration(folder), threads, has_static_caches=has_gpu)
