"""Shadowing: a share of live requests is answered again by the reference, or the variant of the setting, and compared.

It starts after the client has its answer, in a process of its own, which runs when the CPUs have nothing else to do
(`slimseq.app.low_priority`) and has its own copy of that variant, here called the reference. So it neither delays live
requests nor loads or unloads a variant of theirs. If that process falls behind, further requests are dropped. Texts are
kept until they are compared, and nowhere else.
"""

import asyncio
import logging
import random
from dataclasses import asdict, dataclass, field

from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.low_priority import LowPriorityProcess, store_address
from slimseq.app.observability.live_agreement import AgreementMonitor, ComparedArtifacts, offline_agreement
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.language_pairs import complete_pair
from slimseq.app.shadowing.child import Shadow
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.lineage import root_of

# Requests that wait. With more, the machine is not idle enough.
MAX_WAITING = 16
# Characters of a request's inputs and outputs. More would keep the process busy for minutes.
MAX_CHARACTERS = 20_000
# The client has its answer by then.
AFTER_ANSWER_SECONDS = 0.05
# Without a request for this long, the process ends and its memory is free.
IDLE_SECONDS = 300.0
# Pause after a failure: the next request may fail too.
RETRY_SECONDS = 10.0
CHILD = "slimseq.app.shadowing.child"

logger = logging.getLogger(__name__)


class ShadowFailed(Exception):
    """Raised when the reference does not answer a request again. No client sees it."""


@dataclass(eq=False)
class Shadowing:
    """Chooses requests, a `share` of them, and has them answered again. Used from the event loop.

    The memory budget of the `pool` has space for a copy of the reference.
    """

    share: float
    catalogue: Catalogue
    pool: Pool
    monitor: AgreementMonitor
    metrics: ServiceMetrics
    process: LowPriorityProcess = field(default_factory=lambda: LowPriorityProcess(CHILD))

    def __post_init__(self) -> None:
        self._random = random.Random()
        self._waiting: asyncio.Queue[Shadow] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    def answered(self, prompt: Prompt, response: GenerationResponse) -> None:
        """Takes note of an answered request, which may be chosen. Returns at once."""
        if self.share and self._random.random() < self.share:
            asyncio.get_running_loop().call_later(AFTER_ANSWER_SECONDS, self._choose, prompt, response)

    async def close(self) -> None:
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
        self.process.kill()
        await asyncio.to_thread(self.process.end)
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _choose(self, prompt: Prompt, response: GenerationResponse) -> None:
        try:
            shadow = None if self._is_closing else self._shadow(prompt, response)
        except SlimseqError as error:
            logger.warning("a request cannot be shadowed", extra={"error": type(error).__name__})
            self.metrics.shadow_dropped("failed")
            return
        if shadow is None:
            return
        if sum(map(len, prompt.texts)) + sum(map(len, shadow.outputs)) > MAX_CHARACTERS:
            self.metrics.shadow_dropped("too_long")
        elif self._waiting.full():
            self.metrics.shadow_dropped("busy")
        else:
            self._waiting.put_nowait(shadow)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="shadowing")

    def _shadow(self, prompt: Prompt, response: GenerationResponse) -> Shadow | None:
        """Returns what the reference is asked, None if its answer would not be comparable."""
        task = response.task
        manifest = self.catalogue.manifest(task, response.variant)
        other = self.monitor.other_of(manifest, self.catalogue.manifests(task))
        if other is None or other.variant == response.variant or manifest.digest != response.digest:
            return None
        # One of two models of many languages may lack some of them.
        if prompt.languages is not None and complete_pair(other, prompt.languages) is None:
            return None
        # A sampled output differs from the next one of the same model. Summaries of parts need several turns.
        # The process does not know the service's glossaries.
        if (
            isinstance(prompt.glossary, str)
            or manifest.generation.options(**prompt.options).do_sample
            or prompt.long_input != "truncate"
        ):
            return None
        return Shadow(
            store=store_address(self.catalogue.store),
            task=task,
            variant=response.variant,
            digest=response.digest,
            reference=other.variant,
            reference_digest=other.digest,
            runtime=self.catalogue.runtime(task, other.variant),
            prompt=prompt,
            outputs=[output.text for output in response.outputs],
        )

    async def _run(self) -> None:
        while True:
            try:
                shadow = await asyncio.wait_for(self._waiting.get(), IDLE_SECONDS)
            except TimeoutError:
                await asyncio.to_thread(self.process.end)
                continue
            if not self.pool.has_space(shadow.task, shadow.reference, shadow.runtime):
                self.metrics.shadow_dropped("memory")
                # A copy that is loaded is too much by now.
                await asyncio.to_thread(self.process.end)
                continue
            try:
                found = await asyncio.to_thread(answer_again, self.process, shadow)
            except Exception as error:
                self.metrics.shadow_dropped("failed")
                # The text of an unexpected error could quote the request.
                reason = str(error) if isinstance(error, ShadowFailed) else type(error).__name__
                logger.warning("a request was not shadowed: %s", reason)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            compared = ComparedArtifacts(shadow.task, shadow.digest, shadow.reference_digest)
            self.monitor.record(compared, found)
            self.metrics.shadows.labels(shadow.task, shadow.variant).inc()
            self._show(shadow.variant, compared)

    def _show(self, variant: str, compared: ComparedArtifacts) -> None:
        live = self.monitor.report(compared)
        manifests = self.catalogue.manifests(compared.task)
        manifest = next((each for each in manifests if each.variant == variant), None)
        if live is not None and manifest is not None:
            root = root_of(manifest, manifests)
            recorded = offline_agreement(manifest, manifests) if root and root.digest == compared.other else None
            self.metrics.agreement_changed(compared.task, variant, live, recorded)


def answer_again(process: LowPriorityProcess, shadow: Shadow) -> list[OutputAgreement]:
    if not process.send([asdict(shadow)]):
        raise ShadowFailed("the service is stopping")
    match process.receive():
        case {"agreements": found}:
            return [OutputAgreement(is_exact, similarity) for is_exact, similarity in found]
        case {"error": name, "trace": trace}:
            logger.info("shadowing failed", extra={"error": name, "trace": trace})
            raise ShadowFailed(f"the reference does not answer: {name}")
    process.end()
    raise ShadowFailed(f"the process that answers with {shadow.task}/{shadow.reference} ended")
