"""Ranks the parts of a model by what rounding them does to its output, and leaves the fewest of them in float.

A group's sensitivity is the divergence of the model in which only that group is rounded: the mean Kullback-Leibler
divergence of its next-token distributions from the unrounded model's, along the targets of dev pairs. Ranking layers by
it is as in ZeroQuant-V2 (Yao et al. 2023, https://arxiv.org/abs/2303.08302); it sees interactions only where the chosen
combination is measured at last.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.groups import OUTPUT_PROJECTION, Group, groups_of, products_of
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.quantizer import GRAPHS, Quantizer, names_in, save_quantized
from slimseq.compression.quantize.teacher_forcing import Batch, Feeds, batches, cross_feeds, steps
from slimseq.inference.decoding.scores import Scores, log_sum_exp_of
from slimseq.inference.graphs.external import load_weights
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration

if TYPE_CHECKING:
    import onnxruntime as ort

# Target tokens of a pair: enough to see a difference, and what bounds the time.
MAX_STEPS = 32


@dataclass(frozen=True)
class Chosen:
    """What is left in float, why, and what came of it.

    `sensitivity` is each group with its divergence, most sensitive first; `divergence` is that of the whole choice,
    and `divergence_without` that of a model with everything rounded. All in nats a target token.
    """

    sensitivity: list[tuple[Group, float]]
    in_float: list[Group]
    divergence: float
    divergence_without: float

    def record(self) -> dict[str, Any]:
        """Returns it as a step's parameters: `sensitivity`, `in_float`, `divergence`, `divergence_without`."""
        return {
            "sensitivity": [{"group": group.name, "divergence": value} for group, value in self.sensitivity],
            "in_float": [group.name for group in self.in_float],
            "divergence": self.divergence,
            "divergence_without": self.divergence_without,
        }


def choose(work: Work, exported: Path, quantizer: Quantizer, greatest: float, reference: Path | None = None) -> Chosen:
    """Ranks all groups and chooses the fewest, in the order of their rank, that must stay in float.

    Args:
        work: gives dev data and progress.
        exported: the folder of the fp32 graphs.
        quantizer: the scheme's.
        greatest: the divergence that is allowed, in nats a target token.
        reference: the folder of the graphs to diverge from; none takes those that are rounded.

    Returns:
        The choice, which holds the bound.

    Raises:
        BadParameters: no dev or calibration data is named.
    """
    meter = Meter(work, exported, quantizer, reference)
    groups = groups_of(exported)
    ranked = []
    for number, group in enumerate(groups, start=1):
        work.say(f"measuring {group.name} ({number} of {len(groups)})")
        ranked.append((group, meter.divergence([other for other in groups if other is not group])))
    ranked.sort(key=lambda entry: -entry[1])
    work.say("choosing what stays in float")
    order = [group for group, _ in ranked]
    without = meter.divergence([])
    # Each group left in float brings the output closer, so the fewest are found by halving.
    low, high = (0, 0) if without <= greatest else (1, len(order))
    measured = {0: without}
    while low < high:
        middle = (low + high) // 2
        measured[middle] = meter.divergence(order[:middle])
        if measured[middle] <= greatest:
            high = middle
        else:
            low = middle + 1
    if low not in measured:
        measured[low] = meter.divergence(order[:low])
    if measured[low] > greatest:
        raise BadParameters(
            f"even with every layer in float the divergence is {measured[low]:.2g}; allow more than {greatest:g}"
        )
    return Chosen(ranked, order[:low], measured[low], without)


class Meter:
    """Measures how far rounded models are from the unrounded one, whose outputs it keeps."""

    def __init__(self, work: Work, exported: Path, quantizer: Quantizer, reference: Path | None = None) -> None:
        configuration = read_configuration(work.source)
        self._exported = exported
        self._quantizer = quantizer
        self._vocabulary = configuration.vocabulary
        self._batches = batches(work.dev(), configuration, MAX_STEPS)
        self._products = {name: products_of(exported / name) for name in GRAPHS}
        self._floats = {name: open_session(exported / name) for name in GRAPHS}
        self._cross = [cross_feeds(self._floats[ENCODER], batch) for batch in self._batches]
        encoder, decoder = (open_session((reference or exported) / name) for name in (ENCODER, DECODER))
        self._expected = [
            [_log_softmax(logits) for _, logits in steps(decoder, batch, cross_feeds(encoder, batch))]
            for batch in self._batches
        ]

    def divergence(self, in_float: Collection[Group]) -> float:
        """Returns the mean divergence, in nats a target token, of the model rounded but for some groups."""
        total, count = 0.0, 0
        with self._sessions(in_float) as (encoder, decoder):
            for number, batch in enumerate(self._batches):
                cross = self._cross[number] if encoder is self._floats[ENCODER] else cross_feeds(encoder, batch)
                total += self._total(decoder, batch, cross, self._expected[number])
                count += int(batch.is_target.sum())
        # Where nothing differs, the sum is rounding error of either sign.
        return max(0.0, float(f"{total / count:.4g}"))

    @staticmethod
    def _total(decoder: "ort.InferenceSession", batch: Batch, cross: Feeds, expected: list[Scores]) -> float:
        total = 0.0
        for step, (_, logits) in enumerate(steps(decoder, batch, cross)):
            wanted, got = expected[step], _log_softmax(logits)
            divergences = (np.exp(wanted) * (wanted - got)).sum(axis=1, dtype=np.float64)
            total += float(divergences[batch.is_target[:, step]].sum())
        return total

    @contextmanager
    def _sessions(self, in_float: Collection[Group]) -> "Iterator[tuple[ort.InferenceSession, ort.InferenceSession]]":
        """Yields both sessions. Only what is rounded is made anew, on disk only where the embedding is rounded too."""
        if any(group.name == OUTPUT_PROJECTION for group in in_float):
            yield self._session(ENCODER, in_float), self._session(DECODER, in_float)
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "onnx"
            save_quantized(self._quantizer, self._exported, folder, in_float, self._vocabulary)
            yield open_session(folder / ENCODER), open_session(folder / DECODER)

    def _session(self, graph: str, in_float: Collection[Group]) -> "ort.InferenceSession":
        names = names_in(graph, in_float)
        if set(self._products[graph]) <= set(names):
            return self._floats[graph]
        model = self._quantizer.round(self._exported / graph, names)
        load_weights(model, self._exported)
        return open_session(model.SerializeToString())


def open_session(graph: Path | bytes) -> "ort.InferenceSession":
    """Opens a graph on the CPU, silent about what it optimizes away."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Steps are short: threads that spin between them would only take time from whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(graph) if isinstance(graph, Path) else graph, options, ["CPUExecutionProvider"])


def _log_softmax(logits: Scores) -> Scores:
    return logits - log_sum_exp_of(logits)[:, None]
