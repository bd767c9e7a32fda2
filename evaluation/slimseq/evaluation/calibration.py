"""Calibrates the confidence of translations: fits a map from mean log-probability to expected quality (chrF / 100).

The map never falls. It is an isotonic regression of quality on log-probability over a few groups of outputs, so that a
manifest can hold the map and the service needs no library for it (`ConfidenceCalibration.of`). Two figures stand beside
the map: how well log-probabilities rank outputs, and how far the map is off on outputs that it was not fitted to.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slimseq.evaluation.agreement import SIMILARITY_METRIC
from slimseq.evaluation.bootstrap import PERCENTILES, RESAMPLES, SEED, Interval
from slimseq.evaluation.metrics import score
from slimseq.inference.generator import TextOutput
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import ConfidenceCalibration, QualityScore

# Maximum number of groups of outputs that the map is fitted to.
MAX_GROUPS = 10
# Minimum number of outputs in a group: the mean chrF of fewer outputs is too noisy.
MIN_GROUP_SAMPLES = 10
# Minimum number of outputs: each half must have at least two groups.
MIN_SAMPLES = 4 * MIN_GROUP_SAMPLES

Values = NDArray[np.float64]


class CannotCalibrate(SlimseqError):
    """Raised when a confidence cannot be fitted to outputs: there are too few, or all of them are the same."""


def fit_confidence(
    measured: QualityScore, outputs: Sequence[TextOutput], targets: Sequence[str]
) -> ConfidenceCalibration:
    """Fits the map from mean log-probability to the quality of a translation: chrF / 100.

    `measured` is a score of these outputs. It says from which data the outputs are, and how they were generated.
    Outputs without a log-probability are left out.

    Raises:
        CannotCalibrate: fewer than `MIN_SAMPLES` outputs have a log-probability, or all outputs have the same
            log-probability or the same score.
    """
    pairs = zip(outputs, targets, strict=True)
    known = [(output, target) for output, target in pairs if output.mean_log_probability is not None]
    if len(known) < MIN_SAMPLES:
        verb = "is" if len(known) == 1 else "are"
        reason = ": the runtime does not say how probable its outputs are" if outputs and not known else ""
        raise CannotCalibrate(
            f"a confidence needs at least {MIN_SAMPLES} outputs with a log-probability, and there {verb} {len(known)}"
            f"{reason}"
        )
    places = np.array([output.mean_log_probability for output, _ in known], dtype=np.float64)
    scored = score(Task.TRANSLATION, [output.text for output, _ in known], [target for _, target in known])
    metric = scored[SIMILARITY_METRIC[Task.TRANSLATION]]
    qualities = np.clip(metric.value_of(metric.per_sample) / 100, 0, 1)
    for values, name in ((places, "log-probability"), (qualities, metric.metric)):
        if np.ptp(values) == 0:
            raise CannotCalibrate(f"all {len(known)} outputs have the same {name}, {values[0]:g}")
    spearman, spearman_interval = _with_interval(lambda a, b: _pearson(_ranks(a), _ranks(b)), places, qualities)
    pearson, pearson_interval = _with_interval(_pearson, places, qualities)
    return ConfidenceCalibration(
        **measured.model_dump(include={"dataset", "split", "generation", "runtime", "cpu_flags", "measured_at"}),
        samples=len(known),
        metric=metric.metric,
        signature=metric.signature,
        points=fit_points(places, qualities),
        spearman=spearman,
        spearman_interval=spearman_interval,
        pearson=pearson,
        pearson_interval=pearson_interval,
        calibration_error=_held_out_error(places, qualities),
    )


def fit_points(places: Values, qualities: Values) -> list[tuple[float, float]]:
    """Returns the points of a map that never falls: at most `MAX_GROUPS` points, by rising log-probability.

    Outputs are put into groups of similar size by their place, which is the mean log-probability. Outputs with equal
    places stay together. Neighbouring groups whose mean quality falls are pooled (pool adjacent violators, Barlow et
    al. 1972; the algorithm of R's `isoreg` and scikit-learn's `IsotonicRegression`).
    """
    groups = min(MAX_GROUPS, max(len(places) // MIN_GROUP_SAMPLES, 1))
    group_numbers = _group_of(places, groups)
    pooled: list[_Group] = []
    for number in np.unique(group_numbers):
        is_in_group = group_numbers == number
        group = _Group(
            samples=int(is_in_group.sum()),
            place=float(places[is_in_group].mean()),
            quality=float(qualities[is_in_group].mean()),
        )
        while pooled and pooled[-1].quality >= group.quality:
            group = pooled.pop().pooled_with(group)
        pooled.append(group)
    return [(group.place, group.quality) for group in pooled]


class _Group(NamedTuple):
    """A group of outputs: how many they are, and the means of their places and of their qualities."""

    samples: int
    place: float
    quality: float

    def pooled_with(self, other: "_Group") -> "_Group":
        samples = self.samples + other.samples
        return _Group(
            samples=samples,
            place=(self.samples * self.place + other.samples * other.place) / samples,
            quality=(self.samples * self.quality + other.samples * other.quality) / samples,
        )


def _group_of(values: Values, groups: int) -> NDArray[np.int64]:
    """Returns the group of each value. Groups have similar sizes and are in the order of the values.

    Equal values share a group.
    """
    return ((_ranks(values) - 0.5) / len(values) * groups).astype(np.int64)


def _held_out_error(places: Values, qualities: Values) -> float:
    """Fits a map to every second output, and returns its expected calibration error on the other outputs.

    The error is the mean difference of expected and actual quality over groups of similar expected quality, weighted by
    the size of the groups (Guo et al. 2017, https://arxiv.org/abs/1706.04599, with groups of equal size).
    """
    fitted = slice(0, None, 2)
    held_out = slice(1, None, 2)
    points = fit_points(places[fitted], qualities[fitted])
    expected = np.interp(places[held_out], [place for place, _ in points], [quality for _, quality in points])
    differences = expected - qualities[held_out]
    groups = min(MAX_GROUPS, len(expected) // MIN_GROUP_SAMPLES)
    # The sum of a group's differences is its mean difference times its size.
    sums = np.bincount(_group_of(places[held_out], groups), weights=differences)
    return float(np.abs(sums).sum() / len(expected))


def _with_interval(
    correlation: Callable[[Values, Values], float], first: Values, second: Values
) -> tuple[float, Interval]:
    """Returns a correlation with its 95 % bootstrap interval. Resamples without a correlation are ignored."""
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(first), size=len(first))
        if np.ptp(first[drawn]) and np.ptp(second[drawn]):
            found.append(correlation(first[drawn], second[drawn]))
    low, high = np.percentile(found, PERCENTILES)
    return correlation(first, second), (float(low), float(high))


def _pearson(first: Values, second: Values) -> float:
    return float(np.clip(np.corrcoef(first, second)[0, 1], -1, 1))


def _ranks(values: Values) -> Values:
    """Returns the rank of each value, from 1; equal values have the mean of their ranks."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[number]
