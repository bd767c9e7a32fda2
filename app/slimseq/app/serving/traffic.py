"""The traffic of experiments, in memory: an arm for each request, signed ids of responses, and counts of responses.

An id says which variants answered, so that nothing is stored until a user judges the response.
`slimseq.app.experiments.service` reads ids of judged responses. `slimseq.app.experiments.traffic_sync` sets which
experiments run, and writes the counts to the database. Nothing here waits.
"""

import hashlib
import math
import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from itsdangerous import BadSignature, TimestampSigner

from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.selection.language_pairs import Pair
from slimseq.models_store.manifest import Task

# What is counted: experiment, arm, and `RESPONSES` or `ERRORS`.
Counted = tuple[str, str, int]
RESPONSES = 0
ERRORS = -1
# What an id names.
Kind = Literal["response", "comparison"]
# Random bits of an id, so that no two are equal: with 72 bits, not even after years of traffic. They are no secret.
NONCE_BITS = 72
# Hexadecimal digits that are kept of the digest of an artifact, and of the digest of a unit.
DIGEST_DIGITS = 12
UNIT_DIGITS = 16
# Hexadecimal digits of a hash that a float holds exactly.
FLOAT_DIGITS = 13
# Separates the fields of an id. No name of a variant has this character.
_SEPARATOR = "~"
_LETTERS = {Task.SUMMARIZATION: "s", Task.TRANSLATION: "t"}
_TASKS = {letter: task for task, letter in _LETTERS.items()}


class Answered(NamedTuple):
    """A variant that answered, and the digest of its artifact. An id has only the first digits of the digest."""

    variant: str
    digest: str


class Judgeable(NamedTuple):
    """What an id says: the variants that answered, and the experiment if one of them is an arm of it.

    `unit` is a digest of the unit that the answer is for. `nonce` differs in each id. The database stores a judgement
    under the nonce.
    """

    task: Task
    answered: Sequence[Answered]
    experiment: str | None
    unit: str | None
    nonce: str

    def text(self) -> str:
        fields = [_LETTERS[self.task], self.experiment or "", self.unit or "", self.nonce]
        for variant, digest in self.answered:
            fields += variant, digest.removeprefix("sha256:")[:DIGEST_DIGITS]
        return _SEPARATOR.join(fields)

    @classmethod
    def of_text(cls, text: str) -> Self:
        letter, experiment, unit, nonce, *answered = text.split(_SEPARATOR)
        variants = [Answered(*each) for each in zip(answered[::2], answered[1::2], strict=True)]
        return cls(_TASKS[letter], variants, experiment or None, unit or None, nonce)


class ResponseIds:
    """Makes and reads ids. Used from the event loop.

    An id is a text like `t~EXPERIMENT~UNIT~NONCE~quantized~7d22d1fcf0fe.TIME.SIGNATURE`, of characters that URLs and
    headers take as they are. Clients must not read it: the format may change.
    """

    def __init__(self) -> None:
        # Until the key of the database is known, ids are signed with this one, which stays valid in this process.
        self.key = secrets.token_bytes(32)
        self._keys = [self.key]
        self._signers = _signers(self._keys)

    def use_key(self, key: bytes) -> None:
        """Signs with a key from now on. Earlier ids stay valid."""
        if key != self.key:
            self.key = key
            self._keys.append(key)
            self._signers = _signers(self._keys)

    def make(
        self,
        kind: Kind,
        task: Task,
        answered: Sequence[Answered],
        experiment: str | None = None,
        unit: str | None = None,
    ) -> str:
        """Returns a new id. The arguments are those of `Judgeable`."""
        nonce = f"{random.getrandbits(NONCE_BITS):x}"
        content = Judgeable(task, answered, experiment, unit, nonce)
        return self._signers[kind].sign(content.text()).decode()

    def read(self, kind: Kind, identifier: str, max_seconds: float) -> Judgeable | None:
        """Returns what an id says. None if it was not made here, or is older than `max_seconds`."""
        try:
            text = self._signers[kind].unsign(identifier.encode("ascii"), max_age=int(max_seconds))
        except (BadSignature, UnicodeEncodeError):
            return None
        return Judgeable.of_text(text.decode())


def _signers(keys: Sequence[bytes]) -> dict[str, TimestampSigner]:
    """Returns the signers of both kinds, which sign with the last key. No id of one kind is valid as the other."""
    kinds = ("response", "comparison")
    return {kind: TimestampSigner(list(keys), salt=kind, digest_method=hashlib.sha256) for kind in kinds}


@dataclass(frozen=True)
class Assignment:
    """The arm of an experiment that a request belongs to. An arm has the name of its variant.

    `unit` is a digest of the unit that keeps the arm, None if the request names none.
    """

    experiment: str
    arm: str
    unit: str | None = None


@dataclass(frozen=True)
class Split:
    """A running experiment: its id, the weights of the arms that were not dropped, and whether it ends by itself."""

    experiment: str
    weights: Mapping[str, float]
    decides: bool = False

    def assign(self, unit: str | None) -> Assignment:
        """Returns the arm of a unit, or a random arm if there is no unit.

        A unit keeps its arm until the arm is dropped (weighted rendezvous hashing, https://doi.org/10.1109/90.663936).
        """
        digest = unit_digest(self.experiment, unit) if unit else None
        seed = digest or secrets.token_hex(UNIT_DIGITS // 2)

        def score(arm: str) -> float:
            number = int(unit_digest(seed, arm)[:FLOAT_DIGITS], 16)
            # With the half, the place is above 0 and below 1.
            place = (number + 0.5) / 16**FLOAT_DIGITS
            return math.log(self.weights[arm]) - math.log(-math.log(place))

        return Assignment(self.experiment, max(self.weights, key=score), digest)


def unit_digest(experiment: str, unit: str) -> str:
    """Returns what ids and the database have in place of a unit. Nobody can compute the unit from it."""
    text = f"{experiment}\n{unit}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:UNIT_DIGITS]


class Traffic:
    """Assigns requests to arms, names responses and counts them. Used from the event loop."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.ids = ResponseIds()
        self.splits: Mapping[tuple[Task, Pair], Split] = {}
        self.counts: Counter[Counted] = Counter()
        self._metrics = metrics

    def assign(self, task: Task, pair: Pair | None, unit: str | None) -> Assignment | None:
        """Returns the arm of a request that names no variant, or None if its pair has no running experiment."""
        split = self.splits.get((task, pair)) if pair is not None else None
        return split.assign(unit) if split else None

    def arm_of(self, task: Task, pair: Pair | None, variant: str, unit: str | None) -> Assignment | None:
        """Returns the arm of a variant that a comparison names. None if no running experiment has such an arm."""
        split = self.splits.get((task, pair)) if pair is not None else None
        if split is None or variant not in split.weights:
            return None
        return Assignment(split.experiment, variant, unit_digest(split.experiment, unit) if unit else None)

    def response_id(self, task: Task, answered: Answered, assignment: Assignment | None) -> str:
        if assignment is None:
            return self.ids.make("response", task, [answered])
        return self.ids.make("response", task, [answered], assignment.experiment, assignment.unit)

    def comparison_id(self, task: Task, pair: Pair | None, answered: Sequence[Answered], unit: str | None) -> str:
        """Returns the id of a new comparison, of the variants that answered."""
        for each in answered:
            arm = self.arm_of(task, pair, each.variant, unit)
            if arm is not None:
                return self.ids.make("comparison", task, answered, arm.experiment, arm.unit)
        return self.ids.make("comparison", task, answered)

    def count(self, task: Task, assignment: Assignment, what: int = RESPONSES) -> None:
        """Counts a response of an arm, or with `ERRORS` a request that the service failed to answer."""
        self._metrics.arm_ended(task, assignment.arm, has_failed=what == ERRORS)
        self.counts[assignment.experiment, assignment.arm, what] += 1
