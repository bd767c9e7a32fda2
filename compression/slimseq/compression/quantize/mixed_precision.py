"""Exports and quantizes a model's graphs; with a bound on the divergence, leaves the most sensitive parts in float.

The sensitivity of a part is the divergence of the model in which only that part is quantized: the mean Kullback-Leibler
divergence of its next-token distributions from those of the float model, on the targets of dev pairs (ZeroQuant-V2, Yao
et al. 2023, https://arxiv.org/abs/2303.08302). Interactions between parts are measured only for the combinations that
the search tries.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.graphs import GRAPHS, Quantizer, matmuls_of, names_in, save_quantized
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.compression.quantize.teacher_forcing import Batch, Feeds, batches, cross_feeds, open_session, steps
from slimseq.inference.decoding.scores import Scores, log_sum_exp_of
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache, float_cross_attention_cache
from slimseq.inference.graphs.export import ModelPart, export_onnx
from slimseq.inference.graphs.external import load_weights
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.architecture import OUTPUT_PROJECTION
from slimseq.inference.models.configuration import read_configuration

if TYPE_CHECKING:
    import onnxruntime as ort

# Target tokens of a pair: a compromise between precision and time.
MAX_STEPS = 32


@dataclass(frozen=True)
class MixedPrecision:
    """The parts of the model that stay in float, and the measurements.

    Args:
        sensitivity: each part with its divergence, most sensitive first.
        in_float: parts that stay in float.
        divergence: of the model with these parts in float, in nats a target token.
        divergence_without: of the model with all parts quantized.
    """

    sensitivity: list[tuple[ModelPart, float]]
    in_float: list[ModelPart]
    divergence: float
    divergence_without: float

    def record(self) -> dict[str, Any]:
        """Returns the parameters of the lineage step: `sensitivity`, `in_float`, `divergence`, `divergence_without`."""
        return {
            "sensitivity": [{"group": part.name, "divergence": value} for part, value in self.sensitivity],
            "in_float": [part.name for part in self.in_float],
            "divergence": self.divergence,
            "divergence_without": self.divergence_without,
        }


def choose_float_parts(
    run: QuantizationRun,
    exported: Path,
    parts: Sequence[ModelPart],
    quantizer: Quantizer,
    max_divergence: float,
    reference: Path,
) -> MixedPrecision:
    """Ranks the parts by sensitivity and chooses the fewest, most sensitive first, that must stay in float.

    Args:
        run: dev data and progress.
        exported: the folder of the fp32 graphs to quantize.
        parts: of these graphs.
        quantizer: of the scheme.
        max_divergence: the bound, in nats a target token.
        reference: the folder of the fp32 graphs to compare with.

    Returns:
        The choice; its divergence is within the bound.

    Raises:
        BadParameters: there is no dev or calibration data, or no choice is within the bound.
    """
    meter = DivergenceMeter(run, exported, quantizer, reference)
    ranked = []
    for number, part in enumerate(parts, start=1):
        run.report_status(f"measuring {part.name} ({number} of {len(parts)})")
        ranked.append((part, meter.divergence([other for other in parts if other is not part])))
    ranked.sort(key=lambda entry: -entry[1])
    run.report_status("choosing the parts that stay in float")
    order = [part for part, _ in ranked]
    without = meter.divergence([])
    # Each part in float lowers the divergence, so a binary search finds the smallest number.
    low, high = (0, 0) if without <= max_divergence else (1, len(order))
    measured = {0: without}
    while low < high:
        middle = (low + high) // 2
        measured[middle] = meter.divergence(order[:middle])
        if measured[middle] <= max_divergence:
            high = middle
        else:
            low = middle + 1
    if low not in measured:
        measured[low] = meter.divergence(order[:low])
    if measured[low] > max_divergence:
        raise BadParameters(
            f"even with every layer in float the divergence is {measured[low]:.2g}; allow more than {max_divergence:g}"
        )
    return MixedPrecision(ranked, order[:low], measured[low], without)


class DivergenceMeter:
    """Measures the divergence of quantized models from the float model, whose outputs it keeps."""

    def __init__(self, run: QuantizationRun, exported: Path, quantizer: Quantizer, reference: Path) -> None:
        configuration = read_configuration(run.source)
        self._exported = exported
        self._quantizer = quantizer
        self._vocabulary = configuration.vocabulary
        self._batches = batches(run.dev(), configuration, MAX_STEPS)
        self._matmuls = {name: matmuls_of(exported / name) for name in GRAPHS}
        self._floats = {name: open_session(exported / name) for name in GRAPHS}
        self._cross = [cross_feeds(self._floats[ENCODER], batch) for batch in self._batches]
        encoder, decoder = (open_session(reference / name) for name in (ENCODER, DECODER))
        self._expected = [
            [_log_softmax(logits) for _, logits in steps(decoder, batch, cross_feeds(encoder, batch))]
            for batch in self._batches
        ]

    def divergence(self, in_float: Collection[ModelPart]) -> float:
        """Returns the mean divergence of the model quantized except some parts, in nats a target token."""
        total, count = 0.0, 0
        with self._sessions(in_float) as (encoder, decoder):
            for number, batch in enumerate(self._batches):
                cross = self._cross[number] if encoder is self._floats[ENCODER] else cross_feeds(encoder, batch)
                total += self._total(decoder, batch, cross, self._expected[number])
                count += int(batch.is_target.sum())
        # Without a difference, the sum is a floating-point error of either sign.
        return max(0.0, float(f"{total / count:.4g}"))

    @staticmethod
    def _total(decoder: "ort.InferenceSession", batch: Batch, cross: Feeds, expected: list[Scores]) -> float:
        total = 0.0
        for step, (_, logits) in enumerate(steps(decoder, batch, cross)):
            reference, quantized = expected[step], _log_softmax(logits)
            divergences = (np.exp(reference) * (reference - quantized)).sum(axis=1, dtype=np.float64)
            total += float(divergences[batch.is_target[:, step]].sum())
        return total

    @contextmanager
    def _sessions(
        self, in_float: Collection[ModelPart]
    ) -> "Iterator[tuple[ort.InferenceSession, ort.InferenceSession]]":
        """Yields both sessions. Graphs are saved to disk only if the embedding is quantized too."""
        if any(part.name == OUTPUT_PROJECTION for part in in_float):
            yield self._session(ENCODER, in_float), self._session(DECODER, in_float)
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "onnx"
            save_quantized(self._quantizer, self._exported, folder, in_float, self._vocabulary)
            yield open_session(folder / ENCODER), open_session(folder / DECODER)

    def _session(self, graph: str, in_float: Collection[ModelPart]) -> "ort.InferenceSession":
        names = names_in(graph, in_float)
        if set(self._matmuls[graph]) <= set(names):
            return self._floats[graph]
        model = self._quantizer.quantize(self._exported / graph, names)
        load_weights(model, self._exported)
        return open_session(model.SerializeToString())


def _log_softmax(logits: Scores) -> Scores:
    return logits - log_sum_exp_of(logits)[:, None]


def write_graphs(
    run: QuantizationRun,
    folder: Path,
    make_quantizer: Callable[[QuantizationRun, Path], Quantizer],
    cross_attention: CrossAttentionCache | None = None,
) -> dict[str, Any]:
    """Exports a model, quantizes both graphs and writes `onnx/`.

    Args:
        run: what to quantize and how.
        folder: the artifact's folder.
        make_quantizer: makes the scheme's quantizer, given the folder of the fp32 graphs.
        cross_attention: the form of the cross-attention cache; None means float.

    Returns:
        `MixedPrecision.record` with a fallback, else an empty dictionary.

    Raises:
        BadParameters: dev or calibration data is needed and was not given.
        BadSource: the model cannot be exported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported"
        run.report_status("exporting to ONNX")
        floats = float_cross_attention_cache(run.parent.task)
        parts = export_onnx(run.source, exported, cross_attention or floats, is_projection_shared=False)
        quantizer = make_quantizer(run, exported)
        chosen: MixedPrecision | None = None
        if run.options.fallback is not None:
            reference = Path(scratch) / "reference"
            export_onnx(run.source, reference, floats)
            chosen = choose_float_parts(run, exported, parts, quantizer, run.options.fallback, reference)
        run.report_status("quantizing matrices and embeddings")
        vocabulary = read_configuration(run.source).vocabulary
        save_quantized(quantizer, exported, folder / "onnx", chosen.in_float if chosen else (), vocabulary)
    return chosen.record() if chosen else {}
