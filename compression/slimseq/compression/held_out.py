"""Checks that a model is not measured on its training data, and that the data to measure on has enough pairs.

A loss or a score on training data is too good, and says nothing about other texts. Every technique that takes data,
every evaluation and every build makes these checks at its start.

Texts are compared by their sources alone, without case and white space: a translator that has learned another
translation of a sentence knows that sentence too. A text is kept as a hash, which takes 8 bytes of memory.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.step_keys import data_digest
from slimseq.evaluation.significance import MIN_SAMPLES
from slimseq.models_store.manifest import Manifest

# Hashes of texts, sorted, each once.
Hashes = NDArray[np.uint64]
# Share of held-out sources that may be in the training data: some texts occur twice in any large collection. Of public
# test sets, at most 0.5 % of the sources are in the training data of the embedded models.
MAX_SEEN_SHARE = 0.01
MAX_SHOWN_CHARACTERS = 60
# Minimum number of pairs for a recorded score, and for a choice by a score: that of a comparison of two variants.
MIN_PAIRS = MIN_SAMPLES


def hashes_of(sources: Iterable[str]) -> Hashes:
    """Returns the hashes of texts. The texts are read one by one and not kept."""
    return np.unique(np.fromiter((_hash(source) for source in sources), dtype=np.uint64))


def are_among(sources: Iterable[str], known: Hashes) -> NDArray[np.bool_]:
    """Returns, for each text, whether it is among those that were hashed."""
    found = np.fromiter((_hash(source) for source in sources), dtype=np.uint64)
    return np.isin(found, known)


def check_held_out(context: Context, name: str, sources: Sequence[str], training: Hashes) -> None:
    """Checks that held-out texts are not in the training data.

    A few are a warning.

    Args:
        context: where a warning is said.
        name: of the held-out data.
        sources: of the held-out data.
        training: hashes of the sources of the training data.

    Raises:
        BadData: more than `MAX_SEEN_SHARE` of the texts are in the training data.
    """
    is_seen = are_among(sources, training)
    count = int(is_seen.sum())
    if not count:
        return
    first = sources[int(is_seen.argmax())]
    shown = first if len(first) <= MAX_SHOWN_CHARACTERS else f"{first[:MAX_SHOWN_CHARACTERS]}…"
    are = "is" if count == 1 else "are"
    found = f"{count:,} of the {len(sources):,} sources of {_short(name)} {are} in the training data, such as {shown!r}"
    remedy = f"--exclude {name} (in a recipe `exclude`) leaves them out of the training data"
    if count > MAX_SEEN_SHARE * len(sources):
        raise BadData(f"{found}: a loss or a score on them says nothing about other texts; {remedy}")
    context.say(f"Warning: {found}; {remedy}.")


def check_tested_apart(test: str, sources: Sequence[str], dev: str, chosen_on: Hashes) -> None:
    """Checks that test data is not what choices were made on.

    Raises:
        BadData: more than `MAX_SEEN_SHARE` of the test sources are in the dev data.
    """
    count = int(are_among(sources, chosen_on).sum())
    if count > MAX_SEEN_SHARE * len(sources):
        raise BadData(
            f"{count:,} of the {len(sources):,} sources of the test data {_short(test)} are in the dev data "
            f"{_short(dev)}: settings are chosen on dev data, so a score on it is too good; test on other texts"
        )


def check_enough(name: str, pairs: int, purpose: str) -> None:
    """Checks that a data set has enough pairs for a claim.

    Args:
        name: of the data set.
        pairs: how many it has, or how many of it are taken.
        purpose: what they are for, such as `to choose the number of beams`.

    Raises:
        BadData: there are fewer than `MIN_PAIRS`.
    """
    if pairs < MIN_PAIRS:
        raise BadData(
            f"{_short(name)}: {pairs} {'pair is' if pairs == 1 else 'pairs are'} too few {purpose}: with fewer than "
            f"{MIN_PAIRS} pairs, chance decides what is better"
        )


def files_record(**roles: Sequence[str]) -> dict[str, dict[str, list[list[str]]]]:
    """Returns what the lineage keeps of the data files of a step: names and hashes, by role (`train`, `dev`).

    Folders are left out, since they depend on the machine. Names of hub data sets have no hash.
    """
    found: dict[str, list[list[str]]] = {}
    for role, names in roles.items():
        known = [[_short(name), *_digests(name)] for name in names if _digests(name)]
        if known:
            found[role] = known
    return {"files": found} if found else {}


def check_not_trained_on(context: Context, manifests: Mapping[str, Manifest], name: str) -> None:
    """Checks that a file is none that variants were trained on, by the hashes in their lineage.

    A file that something was chosen on (dev data) is a warning: its scores are a little too good.

    Raises:
        BadData: a variant was trained on the file.
    """
    digests = _digests(name)
    if not digests:
        return
    for variant, manifest in manifests.items():
        for step in manifest.lineage:
            files = step.parameters.get("files", {})
            if any(known[1:] == digests for known in files.get("train", ())):
                raise BadData(
                    f"{manifest.task}/{variant} was trained on {_short(name)} ({step.technique}): a score on it says "
                    "nothing about other texts; take a file that was held out"
                )
    for variant, manifest in manifests.items():
        steps = [
            step.technique
            for step in manifest.lineage
            if any(known[1:] == digests for known in step.parameters.get("files", {}).get("dev", ()))
        ]
        if steps:
            context.say(
                f"Warning: {_short(name)} was the dev data of {manifest.task}/{variant} ({', '.join(steps)}). What is "
                "chosen on a file scores a little too well on it. Report scores on a test file."
            )


def _digests(name: str) -> list[str]:
    """Returns the hashes of a file, of both files of parallel text, or nothing for a hub data set."""
    digests = data_digest([name])
    return [] if digests == [name] else digests


def _short(name: str) -> str:
    """Returns the name of a data set without its folders."""
    return ":".join(Path(part).name for part in name.split(":"))


def _hash(text: str) -> int:
    normalized = " ".join(text.casefold().split())
    return int.from_bytes(hashlib.blake2b(normalized.encode(), digest_size=8).digest())
