import asyncio
from collections.abc import Iterator

import pytest

from slimseq.client import (
    AsyncClient,
    Client,
    ComparedGeneration,
    EvaluationFailed,
    FailedVariant,
    Generation,
    Piece,
    ServiceProblem,
    WaitedTooLong,
)
from tests.service.client import Service

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
    with pytest.raises(ValueError, match="there are 2 outputs; texts has them all"):
        _ = two.text


def test_it_chooses_by_limits_and_says_why(client: Client) -> None:
    small = client.translate(SENTENCE, max_bytes=20_000_000, num_beams=1)
    quick = client.summarize(ARTICLE, max_latency_ms=10_000, min_retention=0.5, num_beams=1)
    named = client.translate(SENTENCE, variant="pruned", num_beams=1)

    assert small.selection and "max_bytes 20000000" in small.selection
    assert quick.selection and "retention" in quick.selection
    assert named.selection is None and named.experiment is None
    with pytest.raises(ServiceProblem) as refused:
        client.translate(SENTENCE, max_bytes=1)
    assert refused.value.type == "/problems/no-variant-fits"


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
    other = client.compare("translation", ["original", "pruned"], [SENTENCE, "Good morning."], runtime="onnxruntime")

    assert [result.variant for result in comparison.results] == ["original", "quantized"]
    assert all(isinstance(result, Generation) for result in comparison.results)
    assert all(isinstance(result, FailedVariant) and result.error.status == 422 for result in failed.results)
    reference, pruned = other.results
    assert isinstance(reference, ComparedGeneration) and reference.agreement is None and reference.diff is None
    assert isinstance(pruned, ComparedGeneration) and pruned.agreement and pruned.agreement.reference == "original"
    assert 0 < pruned.agreement.similarity <= 1 and pruned.diff and len(pruned.diff) == 2
    for text, parts in zip(pruned.texts, pruned.diff, strict=True):
        assert "".join(part.text for part in parts if part.op != "delete").split() == text.split()


def test_it_runs_an_experiment_with_ratings_and_votes(client: Client) -> None:
    started = client.start_experiment(
        "translation", "Is pruned good enough?", {"quantized": 3, "pruned": 1}, margin=0.05
    )
    try:
        answers = {unit: client.translate(SENTENCE, unit=unit, num_beams=1) for unit in ("a", "b", "Jürgen", "学")}
        again = {unit: client.translate(SENTENCE, unit=unit, num_beams=1) for unit in answers}
        rated = client.rate(answers["a"].id, 0.5)
        comparison = client.compare("translation", ["quantized", "pruned"], SENTENCE, num_beams=1)
        voted = client.vote(comparison.id, "pruned")
        with pytest.raises(ServiceProblem) as twice:
            client.vote(comparison.id, "quantized")
        seen = client.experiment(started.id)
        listed = client.experiments()
    finally:
        stopped = client.stop_experiment(started.id)

    for unit, answer in answers.items():
        assert answer.experiment and answer.experiment.id == started.id
        assert again[unit].experiment == answer.experiment and answer.experiment.arm == answer.variant
    assert rated.variant == answers["a"].variant and rated.experiment == started.id
    assert voted.variant == "pruned" and twice.value.type == "/problems/conflict"
    assert started.arm("quantized").share == 0.75 and started.margin == 0.05
    assert sum(arm.responses for arm in seen.arms) == 8
    ratings = seen.arm(rated.variant or "").ratings
    assert ratings and ratings.count == 1 and ratings.mean == 0.5
    (pair,) = seen.pairs
    assert pair.votes and pair.votes.votes == 1 and seen.conclusion.verdict == "undecided" and seen.conclusion.text
    assert [each.name for each in listed if each.id == started.id] == ["Is pruned good enough?"]
    assert stopped.status == "stopped" and stopped.stopped_at is not None
    assert client.translate(SENTENCE, num_beams=1).experiment is None


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

    assert not started.status.is_final and ended.status == "succeeded" and seen[-1] == 1
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
            experiment = await client.start_experiment("translation", "Which?", ["quantized", "pruned"])
            try:
                split = await client.translate(SENTENCE, unit="a", num_beams=1)
                feedback = await client.rate(split.id, 1)
            finally:
                await client.stop_experiment(experiment.id)
            with pytest.raises(ServiceProblem, match="nope"):
                await client.summarize(ARTICLE, variant="nope")

        last = streamed[-1]
        assert isinstance(last, Generation) and {each.text for each in answers} == {last.text}
        assert ended.result("original").metrics and len(comparison.results) == 2
        assert split.experiment and feedback.experiment == split.experiment.id == experiment.id
        assert len(variants) > 5 and quality.variant == "compact"

    asyncio.run(run())
