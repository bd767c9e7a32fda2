import asyncio
import time
from collections.abc import Iterator

import pytest

from slimseq.client import (
    AsyncClient,
    Client,
    EvaluationFailed,
    FailedVariant,
    Generation,
    Piece,
    Retry,
    ServiceProblem,
    Unreachable,
    WaitedTooLong,
)
from tests.service.client import Service
from tests.service.conftest import free_port

SENTENCE = "The children are playing in the garden."
ARTICLE = (
    "A fire broke out in a warehouse in the city of Leeds on Monday. Firefighters from three stations fought the "
    "flames for six hours. Nobody was hurt, police said, and the cause is being investigated."
)
PAIRS = [{"source": SENTENCE, "target": "Die Kinder spielen im Garten."}]


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{service.port}") as made:
        yield made


def test_it_translates_and_summarizes(service: Service, client: Client) -> None:
    one = client.translate(SENTENCE, variant="original", num_beams=1)
    two = client.translate(["Good morning.", SENTENCE], source="en", target="de")
    summary = client.summarize(ARTICLE, max_new_tokens=12)

    posted = service.post("/translate?variant=original", {"text": SENTENCE, "num_beams": 1}).json
    assert one.text == posted["outputs"][0]["text"] and one.variant == "original"
    assert len(two.texts) == 2 and two.timings.total_ms > 0
    assert summary.task == "summarization" and summary.outputs[0].output_tokens <= 12
    with pytest.raises(ValueError, match="too many values"):
        _ = two.text


def test_it_chooses_by_retention_and_runtime(client: Client) -> None:
    answer = client.generate("translation", SENTENCE, min_retention=0.5, runtime="onnxruntime")

    assert answer.runtime == "onnxruntime"
    with pytest.raises(ServiceProblem) as refused:
        client.generate("translation", SENTENCE, min_retention=1.99)
    assert refused.value.type == "/problems/no-variant-retains"


def test_it_streams(client: Client) -> None:
    *pieces, last = client.stream("translation", [SENTENCE, "Good morning."], num_beams=1)

    assert isinstance(last, Generation) and all(isinstance(piece, Piece) for piece in pieces)
    for index, text in enumerate(last.texts):
        assert "".join(piece.text for piece in pieces if isinstance(piece, Piece) and piece.index == index) == text


def test_a_stream_that_is_refused_or_closed_leaves_the_client_usable(client: Client) -> None:
    with pytest.raises(ServiceProblem, match="nope"):
        next(client.stream("translation", SENTENCE, variant="nope"))
    stream = client.stream("translation", SENTENCE, num_beams=1)
    assert isinstance(next(stream), Piece)
    stream.close()  # type: ignore[attr-defined]

    assert client.translate("Good morning.").text


def test_it_compares(client: Client) -> None:
    comparison = client.compare("translation", ["original", "quantized"], SENTENCE)
    failed = client.compare("translation", ["original", "quantized"], SENTENCE, max_new_tokens=1024)

    assert [result.variant for result in comparison.results] == ["original", "quantized"]
    assert all(isinstance(result, Generation) for result in comparison.results)
    assert all(isinstance(result, FailedVariant) and result.error.status == 422 for result in failed.results)


def test_it_lists_variants_and_their_quality(client: Client) -> None:
    variants = client.variants()
    original = client.variant("translation", "original")
    (quality,) = client.quality("translation", "quantized")

    assert [each.variant for each in variants if each.task == "translation" and each.default] == ["quantized"]
    assert original.languages == ["en", "de"] and original.status in ("loaded", "available")
    assert quality.retention is not None and quality.retention.value > 0.5
    with pytest.raises(ServiceProblem) as refused:
        client.variant("translation", "no/such")
    assert refused.value.status == 404 and refused.value.request_id


def test_it_evaluates(client: Client) -> None:
    seen: list[float] = []

    started = client.start_evaluation("translation", ["original", "quantized"], pairs=PAIRS * 3)
    ended = client.wait(started, poll_seconds=0.2, on_progress=lambda each: seen.append(each.progress))

    assert not started.is_final and ended.status == "succeeded" and seen[-1] == 1
    assert ended.result("quantized").metric("chrf").value > 50
    assert started.id in [each.id for each in client.evaluations()]
    assert client.evaluation(started.id).results == ended.results


def test_an_evaluation_may_be_cancelled_and_is_not_waited_for_forever(client: Client) -> None:
    started = client.start_evaluation("translation", ["original"], dataset="sample")
    with pytest.raises(WaitedTooLong, match="it goes on"):
        client.wait(started, timeout_seconds=0, poll_seconds=0.01)

    client.cancel_evaluation(started.id)

    with pytest.raises(EvaluationFailed, match="cancelled"):
        client.wait(started, poll_seconds=0.1)


def test_it_waits_for_nothing_that_is_not_there() -> None:
    started = time.monotonic()
    with (
        Client(f"http://127.0.0.1:{free_port()}", retry=Retry(attempts=2, first_wait_seconds=0.1)) as client,
        pytest.raises(Unreachable),
    ):
        client.translate(SENTENCE)

    assert time.monotonic() - started < 10


def test_the_async_client_does_the_same(service: Service) -> None:
    async def run() -> None:
        async with AsyncClient(f"http://127.0.0.1:{service.port}") as client:
            answers = await asyncio.gather(*(client.translate(SENTENCE, num_beams=1) for _ in range(4)))
            streamed = [each async for each in client.stream("translation", SENTENCE, num_beams=1)]
            started = await client.start_evaluation("translation", ["original"], pairs=PAIRS)
            ended = await client.wait(started, poll_seconds=0.2)
            comparison = await client.compare("summarization", ["original", "quantized"], ARTICLE)
            variants = await client.variants()
            (quality,) = await client.quality("summarization", "compact")
            with pytest.raises(ServiceProblem, match="nope"):
                await client.summarize(ARTICLE, variant="nope")

        last = streamed[-1]
        assert isinstance(last, Generation) and {each.text for each in answers} == {last.text}
        assert ended.result("original").metrics and len(comparison.results) == 2
        assert len(variants) > 5 and quality.variant == "compact"

    asyncio.run(run())
