"""A request that the reference of a variant answers again, in a process of low priority."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from slimseq.app.low_priority import LowPriorityProcess, Message
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.inference.text.plan import Prompt
from slimseq.models_store.manifest import Task

CHILD = "slimseq.app.shadowing.child"

logger = logging.getLogger(__name__)


class ShadowFailed(Exception):
    """Raised when the reference does not answer a request again. No client sees it.

    Attributes:
        is_lasting: whether the reason is not the request, so that the next one would fail too.
    """

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


@dataclass(frozen=True)
class Shadow:
    """A request that the reference answers again.

    Args:
        store: the `store_address` of the artifacts.
        task: of the request.
        variant: that answered; `digest` is that of its artifact.
        reference: the reference of the variant; `reference_digest` is that of its artifact.
        runtime: of the reference.
        prompt: texts and options.
        outputs: the answer, a text for each text of the prompt.
    """

    store: Message
    task: Task
    variant: str
    digest: str
    reference: str
    reference_digest: str
    runtime: str
    prompt: Prompt
    outputs: Sequence[str]

    @classmethod
    def from_message(cls, fields: Message) -> Self:
        """Reads what `asdict` made, after it was JSON."""
        prompt = fields["prompt"]
        prompt["stop"] = tuple(prompt["stop"])
        return cls(**fields | {"task": Task(fields["task"]), "prompt": Prompt(**prompt)})


def answer_again(process: LowPriorityProcess, shadow: Shadow) -> list[OutputAgreement]:
    """Answers a request with its reference, and returns the agreement of each output.

    Raises:
        ShadowFailed: the reference cannot be opened or does not answer; the process was closed or has crashed.
    """
    if not process.send([asdict(shadow)]):
        raise ShadowFailed("the service is stopping", is_lasting=True)
    match process.receive():
        case {"agreements": found}:
            return [OutputAgreement(is_exact, similarity) for is_exact, similarity in found]
        case {"error": name, "is_lasting": is_lasting, **further}:
            if "trace" in further:
                logger.error("shadowing failed", extra={"error": name, "trace": further["trace"]})
            raise ShadowFailed(f"the reference does not answer: {name}", is_lasting=is_lasting)
    process.end()
    raise ShadowFailed(f"the process that answers with {shadow.task}/{shadow.reference} ended", is_lasting=True)
