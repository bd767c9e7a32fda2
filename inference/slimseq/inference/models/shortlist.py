"""Lexical shortlists: the target tokens that each source token may be translated to.

A translator with a shortlist chooses only among the target tokens that its source allows, and not in the whole
vocabulary. A file has three arrays (NumPy's `.npz`, without pickle): `first`, `counts` and `ids`, as `Shortlist` says.
Firefox's students come with a shortlist made of word alignments; `import` reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import short_name
from slimseq.models_store.generation import MAX_BEAMS

SHORTLIST = "shortlist.npz"
# Limit of the unpacked arrays. The largest published shortlist has 5 MB.
MAX_BYTES = 2**27
# How many of the first tokens are candidates at least, so that a beam search always has enough of them: it looks at
# twice as many as beams, and two more.
MIN_FIRST = 2 * MAX_BEAMS + 2


@dataclass(frozen=True)
class Shortlist:
    """A shortlist.

    Attributes:
        first: how many of the first target tokens, which are the most frequent ones, are candidates of every source.
        offsets: where the target tokens of each source token begin in `ids`, and the end, `(source tokens + 1,)`.
        ids: the target tokens of all source tokens, unsigned integers.
    """

    first: int
    offsets: NDArray[np.int64]
    ids: NDArray[Any]

    def problem(self, sources: int, targets: int) -> str | None:
        """Returns why it is no shortlist of a model with so many source and target tokens; None if it is one."""
        if len(self.offsets) != sources + 1:
            return f"it has {len(self.offsets) - 1:,} source tokens, and the model {sources:,}"
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.ids) or (self.offsets[1:] < self.offsets[:-1]).any():
            return f"its offsets do not rise from 0 to its {len(self.ids):,} target tokens"
        largest = int(self.ids.max(initial=0))
        if largest >= targets or not 0 <= self.first <= targets:
            return f"it names target token {largest:,} and the first {self.first:,}, and the model has {targets:,}"
        return None

    def tokens(self, source: list[int], targets: int, others: list[int]) -> NDArray[np.int64]:
        """Returns the candidates of a source among so many targets, ascending, with some others."""
        is_candidate = np.zeros(targets, dtype=np.bool_)
        is_candidate[: max(self.first, MIN_FIRST)] = True
        is_candidate[others] = True
        ranges = zip(self.offsets[source], self.offsets[1:][source], strict=True)
        is_candidate[np.concatenate([self.ids[start:end] for start, end in ranges])] = True
        return is_candidate.nonzero()[0]

    def restricted(self, kept: Sequence[int]) -> "Shortlist":
        """Returns the shortlist of a smaller vocabulary of sources and targets: `kept[new] = old`, ascending."""
        # The new id of each old one, -1 for those that are removed.
        new_ids = np.full(len(self.offsets) - 1, -1)
        new_ids[kept] = np.arange(len(kept))
        sources, ids = new_ids.repeat(np.diff(self.offsets)), new_ids[self.ids]
        stays = (sources >= 0) & (ids >= 0)
        counts = np.bincount(sources[stays], minlength=len(kept))
        first = int(np.searchsorted(kept, self.first))
        return Shortlist(first, np.append(0, counts.cumsum()), ids[stays].astype(self.ids.dtype))

    def write(self, folder: Path) -> None:
        """Writes the file of a model folder, with ids of 16 bits where that is enough."""
        dtype = np.uint16 if self.ids.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
        counts = np.diff(self.offsets).astype(np.uint32)
        np.savez_compressed(folder / SHORTLIST, first=np.int64(self.first), counts=counts, ids=self.ids.astype(dtype))


def read_shortlist(folder: Path, sources: int | None, targets: int) -> Shortlist | None:
    """Reads the shortlist of a model; None if its folder has none. Sources may have the tokens of targets.

    Raises:
        InvalidArtifact: the file is damaged, or of another model.
    """
    path = folder / SHORTLIST
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            if sum(part.file_size for part in stored.zip.infolist()) > MAX_BYTES:
                raise ValueError(f"its arrays have more than {MAX_BYTES:,} bytes")
            first, counts, ids = (stored[name] for name in ("first", "counts", "ids"))
        if [(each.dtype.kind, each.ndim) for each in (first, counts, ids)] != [("i", 0), ("u", 1), ("u", 1)]:
            raise ValueError("its arrays are of other kinds")
        shortlist = Shortlist(int(first), np.append(0, counts.cumsum(dtype=np.int64)), ids)
    except Exception as error:  # NumPy, `zipfile` and the decompression raise errors of many classes.
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {error}") from error
    problem = shortlist.problem(sources or targets, targets)
    if problem:
        raise InvalidArtifact(f"{short_name(path)} is no shortlist of this model: {problem}")
    return shortlist
