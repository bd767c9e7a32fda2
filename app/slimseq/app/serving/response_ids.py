"""Ids of responses and comparisons. They say what was answered, signed, so that nothing is stored until it is judged.

An id is a text like `t~EXPERIMENT~UNIT~NONCE~quantized~7d22d1fcf0fe.TIME.SIGNATURE`, of characters that URLs and
headers take as they are. `slimseq.app.experiments.feedback` reads it. Clients must not: the format may change.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from itsdangerous import BadSignature, TimestampSigner

from slimseq.models_store.manifest import Task

KINDS = ("response", "comparison")
KEY_BYTES = 32
# Of an id, so that no two are equal: with 72 bits, not even after years of traffic.
NONCE_BYTES = 9
# Hexadecimal digits of an artifact's digest and of a unit's.
DIGEST_DIGITS, UNIT_DIGITS = 12, 16
# In no name of a variant.
_SEPARATOR = "~"
_LETTERS = {Task.SUMMARIZATION: "s", Task.TRANSLATION: "t"}
_TASKS = {letter: task for task, letter in _LETTERS.items()}


class Answered(NamedTuple):
    """A variant that answered, and the digest of its artifact, in an id only its first digits."""

    variant: str
    digest: str


@dataclass(frozen=True)
class Judgeable:
    """What an id says.

    Args:
        task: of the response.
        answered: the variant that answered; those of a comparison, none if all failed.
        experiment: id of the experiment, if one of the variants is an arm that was asked for it.
        unit: digest of the unit that the answer is for, if the request named one.
        nonce: differs in each id, and stands for it in the database.
    """

    task: Task
    answered: Sequence[Answered]
    experiment: str | None
    unit: str | None
    nonce: str

    def text(self) -> str:
        """Serializes it."""
        fields = [_LETTERS[self.task], self.experiment or "", self.unit or "", self.nonce]
        for variant, digest in self.answered:
            fields += variant, digest.removeprefix("sha256:")[:DIGEST_DIGITS]
        return _SEPARATOR.join(fields)

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Reads what `text` wrote."""
        letter, experiment, unit, nonce, *answered = text.split(_SEPARATOR)
        variants = [Answered(*each) for each in zip(answered[::2], answered[1::2], strict=True)]
        return cls(_TASKS[letter], variants, experiment or None, unit or None, nonce)


class ResponseIds:
    """Makes and reads ids. Used from the event loop. Making one takes about 15 µs."""

    def __init__(self) -> None:
        # Until the key of the database is known, ids are signed with this one, which stays valid in this process.
        self.key = secrets.token_bytes(KEY_BYTES)
        self._keys = [self.key]
        self._signers = _signers(self._keys)

    def use_key(self, key: bytes) -> None:
        """Signs with a key from now on. Earlier ids stay valid."""
        if key != self.key:
            self.key = key
            self._keys.append(key)
            self._signers = _signers(self._keys)

    def response(
        self, task: Task, variant: str, digest: str, experiment: str | None = None, unit: str | None = None
    ) -> str:
        """Returns the id of a response. Arguments are those of `Judgeable`."""
        return self._signed("response", task, [Answered(variant, digest)], experiment, unit)

    def comparison(
        self, task: Task, answered: Sequence[Answered], experiment: str | None = None, unit: str | None = None
    ) -> str:
        """Returns the id of a comparison. Arguments are those of `Judgeable`."""
        return self._signed("comparison", task, answered, experiment, unit)

    def read(self, kind: str, identifier: str, max_seconds: float) -> Judgeable | None:
        """Returns what an id says. None if it was not made here, or is older than `max_seconds`.

        Args:
            kind: `response` or `comparison`.
            identifier: the id.
            max_seconds: its greatest age.
        """
        try:
            text = self._signers[kind].unsign(identifier.encode("ascii"), max_age=int(max_seconds))
        except (BadSignature, UnicodeEncodeError):
            return None
        return Judgeable.of_text(text.decode())

    def _signed(
        self, kind: str, task: Task, answered: Sequence[Answered], experiment: str | None, unit: str | None
    ) -> str:
        said = Judgeable(task, answered, experiment, unit, secrets.token_urlsafe(NONCE_BYTES))
        return self._signers[kind].sign(said.text()).decode()


def _signers(keys: Sequence[bytes]) -> dict[str, TimestampSigner]:
    """Returns the signers of both kinds, which sign with the last key. No id of one kind is valid as the other."""
    return {
        kind: TimestampSigner(list(keys), salt=kind, digest_method=hashlib.sha256)
        for kind in ("response", "comparison")
    }
