"""The copying curriculum: the model repeats windows of the sources, which get longer as its accuracy rises.

The loss of a T5 with random weights stays on a plateau for long, since its cross-attention has no positions. A few
minutes of copying end that (curriculum learning: Bengio et al. 2009, https://doi.org/10.1145/1553374.1553380).
"""

from dataclasses import dataclass

import numpy as np

from slimseq.compression.errors import BadData
from slimseq.compression.train.data.batches import Batch, Position, padded
from slimseq.compression.train.data.pairs import TokenPair, TrainingSet

SHORTEST_WINDOW = 3
FIRST_WINDOW = 6.0
GROWTH = 1.15
MASTERED_ACCURACY = 0.95
# Longer windows teach nothing new, and a batch would have few rows.
LONGEST_WINDOW = 128.0
# Encoding a text costs more than cutting a window, so each text gives several windows.
TEXTS_PER_BATCH = 16
TRIES = 1000
# Makes these random numbers independent of the order of the data.
STREAM = 0xC0B1


@dataclass(frozen=True)
class CopiedWindows:
    """Batches whose targets are their sources.

    Args:
        dataset: windows are cut from its sources.
        tokens_per_batch: bound of rows times the longest side.
        pad_id: fills sources.
        bos_id: first token of sources, which windows keep; None if sources begin with text.
        seed: determines the windows, with the number of the batch.
    """

    dataset: TrainingSet
    tokens_per_batch: int
    pad_id: int
    bos_id: int | None
    seed: int

    def batch(self, number: int, longest: float, after: Position) -> Batch:
        """Returns one batch, the same for the same number in the run and the same length of its longest window.

        The shortest window has half of the `longest` tokens, special tokens not counted. `after` is the position in the
        data, which copying does not change.

        Raises:
            BadData: no source is as long as the shortest window.
        """
        draw = np.random.default_rng((STREAM, self.seed, number))
        most = int(longest)
        rows = max(1, self.tokens_per_batch // (most + 2))
        per_text = -(-rows // TEXTS_PER_BATCH)
        pairs: list[TokenPair] = []
        for _ in range(TRIES):
            ids = self.dataset[int(draw.integers(len(self.dataset)))].source
            start = 1 if self.bos_id is not None and ids[0] == self.bos_id else 0
            before, body, end = ids[:start], ids[start:-1], ids[-1:]
            if len(body) < SHORTEST_WINDOW:
                continue
            for _ in range(min(per_text, rows - len(pairs))):
                length = min(int(draw.integers(max(SHORTEST_WINDOW, most // 2), most + 1)), len(body))
                first = int(draw.integers(len(body) - length + 1))
                window = [*before, *body[first : first + length], *end]
                pairs.append(TokenPair(window, window))
            if len(pairs) == rows:
                return padded(pairs, self.pad_id, after)
        raise BadData(f"the sources are too short to copy from: few have {SHORTEST_WINDOW} tokens")


def next_window(longest: float, accuracy: float) -> float:
    """Returns the length of the longest window of the next step, in tokens, from that of this step."""
    return min(LONGEST_WINDOW, longest * GROWTH) if accuracy > MASTERED_ACCURACY else longest
