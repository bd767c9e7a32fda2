import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.batching.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.serving.documents.plan import Plan, planning
from slimseq.app.serving.documents.planner import Planner, finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.protection import with_further_passes
from slimseq.app.serving.streaming.passes import StreamedPasses
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.protection.passes import Passes
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.generators import EchoGenerator

OUTPUT = TextOutput("Es ist 7.", "eos", 4, 3, False)
SHORT, LONG = "It is 7.", "It is 7, " + "and the house is big, " * 500


class Worker:
    """Generates the same output for each row."""

    def submit(
        self, rows: Sequence[object], *terms: object, has_equal_rows: bool, is_admitted: bool
    ) -> Sequence[object]:
        return rows

    async def wait(self, rows: Sequence[object]) -> Generated:
        return Generated([OUTPUT] * len(rows), 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


def planned(translator: TextGenerator, text: str, threads: list[str]) -> Plan:
    """Plans a sentence whose passes note on which thread they read outputs."""

    def noted() -> Passes:
        yield ["It is 7."]
        threads.append(threading.current_thread().name)
        yield ["It is 7."]
        threads.append(threading.current_thread().name)
        return OUTPUT

    plan = finished(planning(translator, Prompt([text]), max_rows=4096))
    plan.passes[0] = noted()
    next(plan.passes[0])
    return plan


async def streamed(translator: TextGenerator, plan: Plan, planner: Planner) -> TextOutput:
    passes = StreamedPasses(worker(), translator, plan, Due.within(60), planner)
    ended: asyncio.Queue[asyncio.Task[TextOutput]] = asyncio.Queue()
    output = passes.first(0, OUTPUT, lambda _, task: ended.put_nowait(task))
    return passes.ended(0, await ended.get()) if output is None else output


async def at_once(translator: TextGenerator, plan: Plan, planner: Planner) -> TextOutput:
    generated = Generated([OUTPUT], 0.0, 0.0, 0.0)
    done = await with_further_passes(worker(), translator, plan, generated, Due.within(60), planner)
    return done.outputs[0]


def worker() -> RequestQueue:
    return cast(RequestQueue, Worker())


@pytest.mark.parametrize("run", [streamed, at_once])
@pytest.mark.parametrize(("text", "thread"), [(SHORT, "MainThread"), (LONG, "planner_0")])
def test_a_sentence_of_any_length_is_masked_again_on_the_planners_thread(
    translator: TextGenerator, run: Any, text: str, thread: str
) -> None:
    planner, threads = Planner(), list[str]()

    output = asyncio.run(run(translator, planned(translator, text, threads), planner))

    planner.close()
    assert threads == [thread, thread] and output == OUTPUT


def test_the_further_passes_of_equal_sentences_are_generated_once(translator: TextGenerator) -> None:
    async def scenario() -> Generated:
        generator, planner = EchoGenerator(), Planner()
        batching = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0))
        plan = finished(planning(translator, Prompt([SHORT] * 3, format="markdown"), max_rows=4096))
        first = Generated([TextOutput("Es ist 8 oder 9.", "eos", 4, 3, False)] * 3, 0.0, 0.0, 0.0)

        done = await with_further_passes(batching, translator, plan, first, Due.within(10), planner)

        assert [len(batch) for batch in generator.batches] == [1, 1]
        batching.close()
        planner.close()
        return done

    done = asyncio.run(scenario())

    assert len(done.outputs) == 3 and len({output.text for output in done.outputs}) == 1
    assert "7" in done.outputs[0].text


@pytest.mark.parametrize(("is_sampled", "generated"), [(False, 1), (True, 3)])
def test_equal_sentences_of_a_stream_share_their_further_passes(
    translator: TextGenerator, is_sampled: bool, generated: int
) -> None:
    async def scenario() -> list[TextOutput]:
        generator, planner = EchoGenerator(), Planner()
        batching = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0))
        prompt = Prompt([f"{SHORT} {SHORT}", SHORT], options={"do_sample": is_sampled, "num_beams": 1})
        plan = finished(planning(translator, prompt, max_rows=4096))
        passes = StreamedPasses(batching, translator, plan, Due.within(10), planner)
        ended: asyncio.Queue[tuple[int, asyncio.Task[TextOutput]]] = asyncio.Queue()
        wrong = TextOutput("Es ist 8 oder 9.", "eos", 4, 3, False)

        assert all(passes.first(row, wrong, lambda *pair: ended.put_nowait(pair)) is None for row in range(3))
        outputs = []
        while passes.running:
            outputs.append(passes.ended(*await ended.get()))

        assert sum(map(len, generator.batches)) == 2 * generated
        batching.close()
        planner.close()
        return outputs

    outputs = asyncio.run(scenario())

    assert len(outputs) == 3 and all("7" in output.text for output in outputs)
