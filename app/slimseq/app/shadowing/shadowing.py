"""Shadowing: the reference answers a share of the live requests again, and the outputs are compared.

The reference is the base model of the variant that answered, or the variant of the settings
`SLIMSEQ_SHADOW_TRANSLATION` and `SLIMSEQ_SHADOW_SUMMARIZATION`.

Shadowing must not disturb live requests. It starts after the client has its answer. It runs in a process of its own
(`slimseq.app.shadowing.child`), when the CPUs have nothing else to do, with its own copy of the reference: no variant
of the pool is loaded or unloaded for it. If the process falls behind, further requests are dropped.

Texts of users are kept in memory until they are compared, and nowhere else.
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

# Maximum number of requests that wait. If more wait, the machine is not idle enough, and further ones are dropped.
MAX_WAITING = 16
# Maximum characters of a request's inputs and outputs together. More would keep the process busy for minutes.
MAX_CHARACTERS = 20_000
# After this time the client usually has its answer.
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
    """Chooses a random `share` of the requests, and has them answered again. Used from the event loop.

    A request is dropped if the memory budget of the `pool` has no space for a copy of the reference.
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
        """Queues a request, unless it cannot be compared or must be dropped."""
        if self._is_closing:
            return
        try:
            shadow = self._shadow(prompt, response)
        except SlimseqError as error:
            logger.warning("a request cannot be shadowed", extra={"error": type(error).__name__})
            self.metrics.shadow_dropped("failed")
            return
        if shadow is None:
            return
        characters = sum(map(len, prompt.texts)) + sum(map(len, shadow.outputs))
        if characters > MAX_CHARACTERS:
            self.metrics.shadow_dropped("too_long")
        elif self._waiting.full():
            self.metrics.shadow_dropped("busy")
        else:
            self._waiting.put_nowait(shadow)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="shadowing")

    def _shadow(self, prompt: Prompt, response: GenerationResponse) -> Shadow | None:
        """Returns the request for the reference, None if its answer would not be comparable."""
        task = response.task
        manifest = self.catalogue.manifest(task, response.variant)
        reference = self.monitor.other_of(manifest, self.catalogue.manifests(task))
        if reference is None or reference.variant == response.variant:
            return None
        # The artifact on disk was replaced since it was loaded.
        if manifest.digest != response.digest:
            return None
        # The reference may lack languages that the variant has.
        if prompt.languages is not None and complete_pair(reference, prompt.languages) is None:
            return None
        # The process does not know the glossaries of the service, which a request may name.
        if isinstance(prompt.glossary, str):
            return None
        # Two sampled outputs of the same model differ as well.
        if manifest.generation.options(**prompt.options).do_sample:
            return None
        # `map_reduce` generates from its own outputs, in several turns.
        if prompt.long_input != "truncate":
            return None
        return Shadow(
            store=store_address(self.catalogue.store),
            task=task,
            variant=response.variant,
            digest=response.digest,
            reference=reference.variant,
            reference_digest=reference.digest,
            runtime=self.catalogue.runtime(task, reference.variant),
            prompt=prompt,
            outputs=[output.text for output in response.outputs],
        )

    async def _run(self) -> None:
        """Has the requests of the queue answered again, one at a time."""
        while True:
            try:
                shadow = await asyncio.wait_for(self._waiting.get(), IDLE_SECONDS)
            except TimeoutError:
                await asyncio.to_thread(self.process.end)
                continue
            if not self.pool.has_space(shadow.task, shadow.reference, shadow.runtime):
                self.metrics.shadow_dropped("memory")
                # The process may hold a copy of the reference, for which there is no space any more.
                await asyncio.to_thread(self.process.end)
                continue
            try:
                agreements = await asyncio.to_thread(answer_again, self.process, shadow)
            except Exception as error:
                self.metrics.shadow_dropped("failed")
                # The text of an unexpected error could quote the request.
                reason = str(error) if isinstance(error, ShadowFailed) else type(error).__name__
                logger.warning("a request was not shadowed: %s", reason)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            compared = ComparedArtifacts(shadow.task, shadow.digest, shadow.reference_digest)
            self.monitor.record(compared, agreements)
            self.metrics.shadows.labels(shadow.task, shadow.variant).inc()
            self._update_metrics(shadow.variant, compared)

    def _update_metrics(self, variant: str, compared: ComparedArtifacts) -> None:
        """Shows the agreement on live requests, beside the recorded one if that has the same reference."""
        live = self.monitor.report(compared)
        manifests = self.catalogue.manifests(compared.task)
        manifest = next((each for each in manifests if each.variant == variant), None)
        if live is None or manifest is None:
            return
        base = root_of(manifest, manifests)
        recorded = None
        if base is not None and base.digest == compared.other:
            recorded = offline_agreement(manifest, manifests)
        self.metrics.agreement_changed(compared.task, variant, live, recorded)


def answer_again(process: LowPriorityProcess, shadow: Shadow) -> list[OutputAgreement]:
    """Returns the agreement of each output of a request with that of the reference. Blocks until the process answers.

    Raises:
        ShadowFailed: the process failed, ended, or was killed before.
    """
    if not process.send([asdict(shadow)]):
        raise ShadowFailed("the service is stopping")
    match process.receive():
        case {"agreements": found}:
            return [OutputAgreement(is_exact, similarity) for is_exact, similarity in found]
        case {"error": name, "trace": trace}:
            logger.info("shadowing failed", extra={"error": name, "trace": trace})
            raise ShadowFailed(f"the reference does not answer: {name}")
    # There is no answer: the process has ended. The next request starts another one.
    process.end()
    raise ShadowFailed(f"the process that answers with {shadow.task}/{shadow.reference} ended")
