"""Candidates with other shapes of layers: searched, trained for a short time, and the better ones to the end.

At each of a few target speeds, the search proposes shapes whose layers may differ, and the best uniform cut. The
proposals of a target are ranked by their true divergence, and the best two of them are trained for the same number of
steps. The one with the higher loss on dev data stops. The other one goes on for its share of the time that is left.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.checks import has_memory_to_train
from slimseq.compression.compress.cost_measurement import measure_costs
from slimseq.compression.compress.costs import CostTable
from slimseq.compression.compress.loss_table import LossTable
from slimseq.compression.compress.losses import divergence, measure_losses
from slimseq.compression.compress.measuring import dev_outputs
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.shape_search import ShapeCandidate, search
from slimseq.compression.compress.staged_training import (
    MIN_STEPS,
    Stage,
    discard_first_stage,
    move_checkpoint,
    train_first_stage,
    training_options,
)
from slimseq.compression.compress.time_plan import COSTS_SHARE, LOSSES_SHARE, SHORT_TRAINING_SHARE
from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan
