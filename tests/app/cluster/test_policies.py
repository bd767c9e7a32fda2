import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from slimseq.app.cluster.policies import TokensPolicy, VariantRouter, named_variants, variants_of


def replica(name: str, *variants: str) -> Any:
    return SimpleNamespace(replica_id=SimpleNamespace(unique_id=name), routing_stats={"variants": list(variants)})


class Scoped:
    """What a proxy pickles, with what the router reads of it."""

    def __init__(self, path: str, query: bytes) -> None:
        self.asgi_scope = {"path": path, "query_string": query}


def request(path: str, query: bytes = b"") -> Any:
    return SimpleNamespace(args=[pickle.dumps(Scoped(path, query))])


def ranks(replicas: list[Any], pending: Any) -> list[list[str]]:
    router = VariantRouter.__new__(VariantRouter)
    chosen = asyncio.run(router.choose_replicas(replicas, pending))
    return [[each.replica_id.unique_id for each in rank] for rank in chosen]


COMPACT = request("/translate", b"variant=compact")


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/translate", b"variant=compact&runtime=auto", {"translation/compact"}),
        ("/summarize", b"variant=pruned", {"summarization/pruned"}),
        ("/compare", b"task=translation&variant=a&variant=b", {"translation/a", "translation/b"}),
        ("/translate", b"min_retention=0.9", set()),
        ("/compare", b"variant=a", set()),
        ("/translate", b"variant=%FF%00\xff&variant", {"translation/\ufffd\x00\xff"}),
    ],
)
def test_the_url_names_the_variants(path: str, query: bytes, named: set[str]) -> None:
    assert named_variants(path, query) == named
    assert variants_of(request(path, query)) == named


def test_replicas_that_hold_the_variant_come_first_and_two_of_them_at_once() -> None:
    held = [replica(name, "translation/quantized", "translation/compact") for name in "abc"]
    others = [replica(name, "translation/quantized") for name in "de"]

    first, *rest = ranks([*others, *held], COMPACT)

    assert len(first) == 2 and set(first) < set("abc")
    assert sorted(rest) == [["d"], ["e"]]


def test_a_variant_that_nobody_holds_goes_to_the_same_replica_from_every_proxy() -> None:
    replicas = [replica(name, "translation/quantized") for name in "abcdef"]

    orders = {tuple(map(tuple, ranks(order, COMPACT))) for order in (replicas, replicas[::-1]) for _ in range(5)}

    assert len(orders) == 1 and all(len(rank) == 1 for rank in next(iter(orders)))
    other = ranks(replicas, request("/translate", b"variant=pruned"))
    assert sorted(map(tuple, other)) == sorted(next(iter(orders)))


def test_requests_without_a_variant_go_anywhere() -> None:
    replicas = [replica(name) for name in "abcdef"]

    chosen = {name for _ in range(50) for rank in ranks(replicas, request("/translate")) for name in rank}

    assert chosen == set("abcdef")
    assert all(len(rank) == 2 for rank in ranks(replicas, None))
    assert ranks([], COMPACT) == []


def context(tokens: list[float], running: float, queued: float | None) -> Any:
    metrics = {"pending_tokens": dict(enumerate(tokens))} if tokens else None
    return SimpleNamespace(aggregated_metrics=metrics, total_running_requests=running, total_queued_requests=queued)


@pytest.mark.parametrize(
    ("tokens", "running", "queued", "replicas"),
    [
        ([], 0.0, None, 0.0),
        ([1000.0], 4.0, 0.0, 1.0),
        ([1500.0, 500.0], 4.0, None, 2.0),
        # Requests in the proxies are as long as those in the replicas.
        ([1000.0], 4.0, 4.0, 2.0),
        ([0.0], 0.0, 3.0, 0.0),
    ],
)
def test_there_is_one_replica_for_so_many_expected_tokens(
    tokens: list[float], running: float, queued: float | None, replicas: float
) -> None:
    assert TokensPolicy(1000)(context(tokens, running, queued)) == (replicas, {})
