"""The Python client (`slimseq.client`) against a real service: every method, and the errors that it raises."""

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
from tests.service.test_generation import ARTICLE

SENTENCE = "The children are playing in the garden."
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
    assert one.text == posted["outputs"][0]["text"]
    assert one.variant == "original"
    assert len(two.texts) == 2
    assert two.timings.total_ms > 0
    assert summary.task == "summarization"
    assert summary.outputs[0].output_tokens <= 12
    with pytest.raises(ValueError, match="there are 2 outputs; texts has them all"):
        _ = two.text


def test_it_streams(client: Client) -> None:
    *pieces, last = client.stream("translation", [SENTENCE, "Good morning."], num_beams=1)

    assert isinstance(last, Generation)
    assert all(isinstance(piece, Piece) for piece in pieces)
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
    other = client.compare("translation", ["original", "pruned"], [SENTENCE, "Good morning."], runtime="onnxruntime")
    failed = client.compare("translation", ["original", "quantized"], SENTENCE, max_new_tokens=1024)

    assert all(isinstance(result, FailedVariant) and result.error.status == 422 for result in failed.results)
    reference, pruned = other.results
    assert (reference.variant, pruned.variant) == ("original", "pruned")
    assert isinstance(reference, ComparedGeneration)
    assert reference.agreement is None
    assert reference.diff is None
    assert isinstance(pruned, ComparedGeneration)
    assert pruned.agreement
    assert pruned.agreement.reference == "original"
    assert 0 < pruned.agreement.similarity <= 1
    assert pruned.diff
    assert len(pruned.diff) == 2
    for text, parts in zip(pruned.texts, pruned.diff, strict=True):
        assert "".join(part.text for part in parts if part.op != "delete").split() == text.split()


def test_it_runs_an_experiment_with_ratings_and_votes(client: Client) -> None:
    started = client.start_experiment(
        "translation", "Is pruned good enough?", {"quantized": 3, "pruned": 1}, margin=0.05
    )
    try:
        answers = [client.translate(SENTENCE, unit=unit, num_beams=1) for unit in ("a", "Jürgen", "学")]
        rated = client.rate(answers[0].id, 0.5)
        comparison = client.compare("translation", ["quantized", "pruned"], SENTENCE, num_beams=1)
        voted = client.vote(comparison.id, "pruned")
        seen = client.experiment(started.id)
        listed = client.experiments()
    finally:
        stopped = client.stop_experiment(started.id)
    promoted = client.promote_arm(started.id, "pruned")
    client.delete_experiment(started.id)

    assert (promoted.promoted, promoted.when_decided) == ("pruned", "tell")
    for answer in answers:
        assert answer.experiment
        assert (answer.experiment.id, answer.experiment.arm) == (started.id, answer.variant)
    assert (rated.variant, rated.experiment, voted.variant) == (answers[0].variant, started.id, "pruned")
    assert started.arm("quantized").share == 0.75
    assert started.margin == 0.05
    ratings = seen.arm(rated.variant or "").ratings
    assert ratings
    assert ratings.count == 1
    assert ratings.mean == 0.5
    (pair,) = seen.pairs
    assert pair.votes
    assert pair.votes.votes == 1
    assert seen.conclusion.verdict == "undecided"
    assert seen.conclusion.text
    assert [each.name for each in listed if each.id == started.id] == ["Is pruned good enough?"]
    assert stopped.status == "stopped"
    assert stopped.stopped_at is not None


def test_it_lists_variants_and_their_quality(client: Client) -> None:
    variants = client.variants()
    original = client.variant("translation", "original")
    (quality,) = client.quality("translation", "quantized")

    assert [each.variant for each in variants if each.task == "translation" and each.default] == ["quantized"]
    assert original.languages == ["en", "de"]
    assert original.status in ("loaded", "available")
    assert quality.retention is not None
    assert quality.retention.value > 0.5
    with pytest.raises(ServiceProblem) as refused:
        client.variant("translation", "no/such")
    assert refused.value.status == 404
    assert refused.value.request_id


def test_it_evaluates(client: Client) -> None:
    seen: list[float] = []

    started = client.start_evaluation("translation", ["original", "quantized"], pairs=PAIRS * 3)
    ended = client.wait(started, poll_seconds=0.2, on_progress=lambda each: seen.append(each.progress))

    assert not started.status.is_final
    assert ended.status == "succeeded"
    assert seen[-1] == 1
    assert sorted(set(seen)) == seen
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


@pytest.mark.anyio
async def test_the_async_client_does_the_same(service: Service) -> None:
    async with AsyncClient(f"http://127.0.0.1:{service.port}") as client:
        answers = await asyncio.gather(*(client.translate(SENTENCE, num_beams=1) for _ in range(4)))
        streamed = [each async for each in client.stream("translation", SENTENCE, num_beams=1)]
        started = await client.start_evaluation("translation", ["original"], pairs=PAIRS)
        ended = await client.wait(started, poll_seconds=0.2)
        with pytest.raises(ServiceProblem, match="nope"):
            await client.summarize(ARTICLE, variant="nope")

    last = streamed[-1]
    assert isinstance(last, Generation)
    assert {each.text for each in answers} == {last.text}
    assert ended.result("original").metrics
