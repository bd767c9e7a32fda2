"""The autoscaling policy: as many replicas as the tokens that wait or run need.

Requests differ in length by a factor of a hundred, so their number says little about the work. Ray applies the bounds,
factors and delays of its `autoscaling_config` to what a policy returns.
"""

from typing import Any

from ray.serve.config import AutoscalingContext

# Key of a replica's autoscaling stats.
PENDING_TOKENS = "pending_tokens"


class TokensPolicy:
    """Keeps the expected tokens of unfinished requests near a target for each replica."""

    def __init__(self, target_tokens: float) -> None:
        """Called by Ray with `policy_kwargs`."""
        self._target_tokens = target_tokens

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Returns the number of replicas to have, and no state.

        Requests that wait in the proxies because all replicas are full count as much as those in the replicas.
        """
        found = (context.aggregated_metrics or {}).get(PENDING_TOKENS, {})
        tokens = sum(found.values())
        running, queued = context.total_running_requests, context.total_queued_requests or 0.0
        if running > 0:
            tokens *= 1 + queued / running
        return tokens / self._target_tokens, {}
