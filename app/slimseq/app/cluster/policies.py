"""What Ray Serve asks: which replica takes a request, and how many replicas there are.

Requests that name variants go to replicas that hold them, while these have capacity. Requests that name none go to any
replica: each one loads the default variants when it starts. Of two replicas the one
with fewer requests is chosen (power of two choices, Mitzenmacher 2001, https://doi.org/10.1109/71.963420), as by Ray's
own router. A variant that no replica holds goes to the same replica from every proxy (rendezvous hashing, Thaler and
Ravishankar 1998, https://doi.org/10.1109/90.663936), so that several requests at once load it once.

There are as many replicas as the tokens that wait or run need. Requests differ in length by a factor of a hundred, so
their number says little about the work.
"""

import hashlib
import pickle
import random
from typing import Any
from urllib.parse import parse_qsl

from ray.serve.config import AutoscalingContext
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

# Keys of a replica's routing stats and autoscaling stats.
HELD_VARIANTS = "variants"
PENDING_TOKENS = "pending_tokens"
TASKS = {"/summarize": "summarization", "/translate": "translation"}


class VariantRouter(RequestRouter):  # type: ignore[misc]
    """The router of a proxy. Ray calls it for each request, and again if no chosen replica takes the request."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Returns two replicas that hold the variants of a request, and then the others, one by one."""
        named = variants_of(pending_request)
        holding = [each for each in candidate_replicas if named <= set(each.routing_stats.get(HELD_VARIANTS, ()))]
        others = [each for each in candidate_replicas if each not in holding]
        ordered = sorted(others, key=lambda replica: _place(named, replica.replica_id.unique_id))
        ranks = [random.sample(holding, min(2, len(holding))), *([each] for each in ordered)]
        return [rank for rank in ranks if rank]


class TokensPolicy:
    """Keeps the expected tokens of unfinished requests near a target for each replica. Ray applies its bounds after."""

    def __init__(self, target_tokens: float) -> None:
        """Called by Ray with `policy_kwargs`."""
        self._target_tokens = target_tokens

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Returns the number of replicas to have, and no state.

        Requests that wait in the proxies because all replicas are full count as much as those in the replicas.
        """
        tokens = sum((context.aggregated_metrics or {}).get(PENDING_TOKENS, {}).values())
        running, queued = context.total_running_requests, context.total_queued_requests or 0.0
        if running > 0:
            tokens *= 1 + queued / running
        return tokens / self._target_tokens, {}


def variants_of(request: PendingRequest | None) -> set[str]:
    """Returns the variants that the URL of a request names, as `task/variant`. Empty if it names none."""
    # This process, the proxy, pickled a `StreamingHTTPRequest` for the replica. No client can send pickled data.
    if request is None or not request.args or not isinstance(request.args[0], bytes):
        return set()
    scope = pickle.loads(request.args[0]).asgi_scope
    return named_variants(scope["path"], scope["query_string"])


def named_variants(path: str, query: bytes) -> set[str]:
    """Returns the variants that a path and its query string name, as `task/variant`.

    A value that is no name of a variant is one that no replica holds.
    """
    parameters = parse_qsl(query.decode("latin-1"))
    task = TASKS.get(path) or next((value for name, value in parameters if name == "task"), None)
    return {f"{task}/{value}" for name, value in parameters if name == "variant" and task}


def _place(variants: set[str], replica: str) -> bytes:
    return hashlib.sha256(f"{sorted(variants)} {replica}".encode()).digest()
