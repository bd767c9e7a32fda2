"""Which requests are shadowed, dropped or counted. In place of the process with a model, a class echoes the source."""

import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from slimseq.app.low_priority import LowPriorityProcess, Message
from slimseq.app.observability.live_agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.shadowing import shadowing
from slimseq.app.shadowing.child import Shadow
from slimseq.app.shadowing.shadowing import MAX_WAITING, ShadowFailed, Shadowing
from slimseq.evaluation.agreement import agreements
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import MeanAgreement
from slimseq.models_store.store import Store
from tests.app.generate.test_comparison import response
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.app.serving.parts import parts_of
from tests.app.serving.working import until

pytestmark = pytest.mark.anyio

ORIGINAL = manifest()
QUANTIZED = variant_of(ORIGINAL, "quantized", "quantize")
COMPARED = ComparedArtifacts(Task.TRANSLATION, QUANTIZED.digest, ORIGINAL.digest)


class EchoProcess(LowPriorityProcess):
    """A reference whose output is the source. It answers once `gate` is open, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__("none")
        self.shadows: list[Shadow] = []
        self.ended_count = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def send(self, messages: Iterable[Any]) -> bool:
        self.shadows += map(Shadow.from_message, messages)
        assert self.gate.wait(10)
        return not self.is_killed

    def receive(self) -> Message:
        if self.error:
            raise self.error
        shadow = self.shadows[-1]
        found = agreements(shadow.task, shadow.outputs, shadow.prompt.texts)
        return {"agreements": [(each.is_exact, each.similarity) for each in found]}

    def end(self) -> None:
        self.ended_count += 1


class Shadowed:
    """Shadowing of a store with an original and its quantized variant, without a model."""

    def __init__(self, folder: Path, share: float = 1.0, *others: Manifest, by: str | None = None) -> None:
        self.store = Store(put(folder, ORIGINAL, QUANTIZED, *others))
        self.parts = parts_of(self.store)
        self.monitor = AgreementMonitor({Task.TRANSLATION: by} if by else None)
        self.metrics = ServiceMetrics("test")
        self.process = EchoProcess()
        self.shadowing = Shadowing(
            share,
            self.parts.catalogue,
            self.parts.pool,
            self.monitor,
            self.metrics,
            self.process,
        )

    def answered(self, prompt: Prompt | None = None, answer: str = "Hallo", variant: Manifest = QUANTIZED) -> None:
        """Tells shadowing of a request that a variant has answered."""
        prompt = prompt or Prompt(["Hallo"])
        made = response(variant.variant, *[answer] * len(prompt.texts))
        self.shadowing.answered(prompt, made.model_copy(update={"digest": variant.digest}))

    @property
    def rendered(self) -> str:
        return self.metrics.render().decode()

    def dropped(self, reason: str) -> float | None:
        return self.metrics.registry.get_sample_value("slimseq_shadows_dropped_total", {"reason": reason})

    def compared_outputs(self) -> int:
        live = self.monitor.report(COMPARED)
        return live.outputs if live else 0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "AFTER_ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(shadowing, "RETRY_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def closing(shadowed: Shadowed) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await shadowed.shadowing.close()
        await shadowed.parts.pool.close()


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(["Hallo"], {"do_sample": True}),
        Prompt(["Hallo"], long_input="map_reduce"),
        Prompt(["Hallo"], glossary="billing"),
    ],
    ids=["sampled", "summarized in parts", "with a glossary of the service"],
)
async def test_answers_that_would_not_be_comparable_are_not_shadowed(tmp_path: Path, prompt: Prompt) -> None:
    shadowed = Shadowed(tmp_path)

    async with closing(shadowed):
        shadowed.answered(prompt)
        # Once this usual request is compared, the one before would have been as well.
        shadowed.answered()
        await until(lambda: shadowed.compared_outputs() == 1)

    assert [each.prompt for each in shadowed.process.shadows] == [Prompt(["Hallo"])]


async def test_neither_the_reference_nor_a_replaced_or_lost_variant_nor_one_that_samples_is_shadowed(
    tmp_path: Path,
) -> None:
    replaced = QUANTIZED.model_copy(update={"digest": "sha256:" + "0" * 64})
    orphan = variant_of(manifest(variant="gone"), "orphan")
    sampling = variant_of(ORIGINAL, "sampling", generation=GenerationDefaults(do_sample=True))
    shadowed = Shadowed(tmp_path, 1.0, orphan, sampling)

    async with closing(shadowed):
        for each in (ORIGINAL, replaced, orphan, sampling, QUANTIZED):
            shadowed.answered(variant=each)
        await until(lambda: shadowed.compared_outputs() == 1)

    assert [each.variant for each in shadowed.process.shadows] == ["quantized"]


async def test_the_variant_of_the_setting_answers_requests_of_its_languages_again_in_place_of_the_reference(
    tmp_path: Path,
) -> None:
    agreement = MeanAgreement(exact=0.5, similarity=0.9, interval=(0.8, 1.0), metric="chrf")
    rated = variant_of(ORIGINAL, "rated", quality=[score(1.0, agreement=agreement)])
    candidate = variant_of(ORIGINAL, "candidate")
    french = variant_of(ORIGINAL, "french", languages=["en", "fr"])
    shadowed = Shadowed(tmp_path, 1.0, candidate, french, rated, by="candidate")
    by_reference = Shadowed(tmp_path, 1.0, candidate, french, rated)

    async with closing(shadowed), closing(by_reference):
        by_reference.answered(variant=rated)
        for each in (candidate, french, rated, ORIGINAL):
            shadowed.answered(variant=each)
        await until(lambda: shadowed.rendered.count("agreement_mean{") == 2)
        await until(lambda: "agreement_mean{" in by_reference.rendered)

    assert [(each.variant, each.reference) for each in shadowed.process.shadows] == [
        ("rated", "candidate"),
        ("original", "candidate"),
    ]
    live = shadowed.monitor.report(ComparedArtifacts(Task.TRANSLATION, rated.digest, candidate.digest))
    assert live is not None and (live.outputs, live.other) == (1, candidate.digest)
    assert "recorded_mean{" in by_reference.rendered and "recorded_mean{" not in shadowed.rendered


async def test_a_share_of_the_requests_is_shadowed(tmp_path: Path) -> None:
    nothing = Shadowed(tmp_path / "nothing", 0.0)
    tenth = Shadowed(tmp_path / "tenth", 0.1)
    tenth.process.gate.clear()

    async with closing(tenth):
        for _ in range(2000):
            nothing.answered()
            tenth.answered()
        await until(lambda: (tenth.dropped("busy") or 0) > 0)
        tenth.process.gate.set()
        await nothing.shadowing.close()

    # The queue is full of chosen requests, and further ones were dropped.
    chosen = MAX_WAITING + (tenth.dropped("busy") or 0)
    assert nothing.process.shadows == []
    assert nothing.dropped("busy") == 0
    # A tenth of 2000 is 200. Six standard deviations of 13.4 are 80.
    assert 120 < chosen < 280


async def test_a_reference_beyond_the_memory_budget_is_not_loaded_and_a_loaded_copy_is_freed(tmp_path: Path) -> None:
    shadowed = Shadowed(tmp_path)
    shadowed.parts.pool.budget_bytes = 1

    async with closing(shadowed):
        shadowed.answered()
        await until(lambda: shadowed.dropped("memory") == 1 and shadowed.process.ended_count == 1)

    assert shadowed.process.shadows == []


async def test_a_failure_is_counted_and_the_next_request_is_shadowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shadowed = Shadowed(tmp_path)
    shadowed.process.error = ShadowFailed("it ended")

    async with closing(shadowed):
        shadowed.answered(Prompt(["a secret"]))
        await until(lambda: shadowed.dropped("failed") == 1)
        shadowed.process.error = None
        shadowed.answered()
        await until(lambda: shadowed.compared_outputs() == 1)

    assert "a request was not shadowed" in caplog.text and "secret" not in caplog.text
