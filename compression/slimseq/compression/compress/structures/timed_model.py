"""A model as it will be served: int8 graphs on our own engine, and the time that a text takes in it.

`cost_measurement` times cut models to find what each structure costs. The weights do not matter, so that nothing is
fitted or trained. The graphs are written to a temporary folder and are not published.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

import torch

from slimseq.compression.artifacts.parent import Parent
from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan
from slimseq.compression.quantize.quantize_options import QuantizationRun, QuantizeOptions
from slimseq.compression.quantize.schemes import int8_dynamic
from slimseq.evaluation.fastest import default_layout
from slimseq.evaluation.host import available_cores
from slimseq.inference.graphs.tensor_names import ENCODER
from slimseq.inference.models.architecture import Attention
from slimseq.inference.runtime import ContinuousRuntime, Runtime
from slimseq.inference.runtimes.onnxruntime import open_runtime
from slimseq.models_store.generation import GenerationOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Texts of a workload. More texts would take more time, and fewer would represent the user's lengths worse.
TEXTS = 8


@dataclass(frozen=True)
class Workload:
    """What the service will do for one user: input ids of some texts, and how outputs are searched.

    Args:
        rows: the ids of each text.
        options: the search, with the number of output tokens as minimum and maximum. So models with other weights make
            outputs of the same length.
    """

    rows: tuple[tuple[int, ...], ...]
    options: GenerationOptions

    @classmethod
    def of(cls, parent: Parent, texts: Sequence[str], output_tokens: float, options: GenerationOptions) -> Self:
        """Returns a workload with texts of representative lengths.

        Args:
            parent: the model, for its tokenizer and prefix.
            texts: the user's texts. Some are chosen, evenly spaced by their length in tokens.
            output_tokens: mean length of the outputs of the model.
            options: how outputs are searched.

        Raises:
            BadParameters: there are no texts.
        """
        if not texts:
            raise BadParameters("costs cannot be measured without texts")
        prefix = parent.manifest.generation.prefix
        encoded = parent.tokenizer.encode_many([prefix + text for text in texts], parent.limits.max_input_tokens)
        rows = sorted((tuple(each.ids) for each in encoded), key=len)
        count = min(TEXTS, len(rows))
        # The middle of each of `count` equal parts.
        chosen = tuple(rows[(2 * part + 1) * len(rows) // (2 * count)] for part in range(count))
        longest = parent.limits.max_target_tokens
        tokens = min(max(1, round(output_tokens)), longest)
        forced = options.model_copy(update={"min_new_tokens": tokens, "max_new_tokens": tokens})
        # Greedy search may take several tokens in one step where outputs copy their input. Other weights copy nothing.
        return cls(chosen, forced.without_speculation())

    def first(self, count: int) -> "Workload":
        """Returns the workload with only some of its texts, evenly spaced."""
        rows = self.rows
        chosen = tuple(rows[(2 * part + 1) * len(rows) // (2 * count)] for part in range(count))
        return Workload(chosen, self.options)


class TimedModel:
    """An open model that says how long a text takes."""

    def __init__(self, runtime: Runtime) -> None:
        assert isinstance(runtime, ContinuousRuntime), "graphs of our own exporter have an engine"
        self._runtime = runtime

    def seconds(self, row: Sequence[int], options: GenerationOptions) -> dict[str, float]:
        """Generates from one text; returns the seconds of the encoder and of all steps of the decoder, by stack."""
        engine = self._runtime.engine()
        started = clock()
        engine.add(row, options)
        engine.admit(len(row))
        encoded = clock()
        while len(engine):
            engine.step()
        return {"encoder": encoded - started, "decoder": clock() - encoded}


def clock() -> float:
    """Returns seconds: of CPU time where a generation has one thread, else of real time.

    Other processes hardly change the CPU time. With several threads it is no measure, since idle threads spin.
    """
    return time.thread_time() if _threads() == 1 else time.perf_counter()


def _threads() -> int:
    return default_layout(available_cores()).threads


@dataclass(frozen=True)
class Int8Files:
    """A model's int8 files in a temporary folder.

    Attributes:
        bytes: bytes of the encoder's graph, and of all other files, by stack.
    """

    folder: Path
    bytes: Mapping[str, int]

    @contextmanager
    def opened(self) -> Iterator[TimedModel]:
        """Opens the model in the service's default layout."""
        layout = default_layout(available_cores())
        with closing(open_runtime(self.folder, threads=layout.threads, workers=layout.workers)) as runtime:
            yield TimedModel(runtime)


@contextmanager
def int8_files(
    parent: Parent,
    make_model: "Callable[[], PreTrainedModel] | None" = None,
    tokenizer_folder: Path | None = None,
    report_status: Callable[[str], None] = lambda status: None,
) -> Iterator[Int8Files]:
    """Writes a model in int8. Its files are removed when the block ends.

    Args:
        parent: the whole model.
        make_model: makes the cut model, which is not held longer than it is written. None means the whole model.
        tokenizer_folder: folder of the cut model's tokenizer. By default the tokenizer is that of the whole model.
        report_status: shows a short status to the user.

    Raises:
        BadParameters: as `make_model` does.
        BadSource: the model cannot be exported.
    """
    with TemporaryDirectory(prefix="slimseq-costs-") as name:
        source, folder = parent.folder, Path(name, "int8")
        if make_model is not None:
            source = Path(name, "model")
            write_model(make_model(), source)
            copy_tokenizer(tokenizer_folder or parent.folder, source)
        folder.mkdir()
        int8_dynamic.write(QuantizationRun(parent.manifest, source, QuantizeOptions(), None, report_status), folder)
        for file in ("config.json", "generation_config.json"):
            if (source / file).exists():
                (folder / file).write_bytes((source / file).read_bytes())
        copy_tokenizer(source, folder)
        sizes = {path.name: path.stat().st_size for path in (folder / "onnx").iterdir()}
        yield Int8Files(folder, {"encoder": sizes[ENCODER], "decoder": sum(sizes.values()) - sizes[ENCODER]})


def cut_for_timing(model: "PreTrainedModel", plan: LayerPlan) -> "PreTrainedModel":
    """Returns a model with the shape of a plan: the first heads and channels of each part.

    Raises:
        BadParameters: the model cannot be cut to the plan.
    """
    kept: dict[str, torch.Tensor] = {}
    for stack in architecture_of_model(model).stacks:
        for planned in plan.stacks[stack.name]:
            layer = stack.layers[planned.layer]
            sizes = {layer.feed_forward.down: planned.feed_forward}
            if isinstance(layer.self_attention, Attention) and planned.heads is not None:
                sizes[layer.self_attention.output] = planned.heads
            if layer.cross_attention is not None and planned.cross_heads is not None:
                sizes[layer.cross_attention.output] = planned.cross_heads
            kept |= {name: torch.arange(size) for name, size in sizes.items()}
    return cut_to_plan(model, plan, kept)
