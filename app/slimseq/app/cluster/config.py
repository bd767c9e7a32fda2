"""Makes the Serve config of a store, which `serve run` and `serve deploy` read. Checked with Ray's own schema."""

import copy
from dataclasses import dataclass
from typing import Any

from ray.serve.schema import ServeDeploySchema

from slimseq.app.cluster.replica import DEPLOYMENT
from slimseq.app.services import check_store
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

APPLICATION = "slimseq.app.cluster.replica:application"
ROUTER = "slimseq.app.cluster.policies:VariantRouter"
POLICY = "slimseq.app.cluster.policies:TokensPolicy"
# What the proxies need: `http_options` of the config.
OF_PROXIES = {"host", "port"}
# Secrets are read from the environment of each node.
SECRETS = {"admin_token", "database_url", "limits_url"}
# A replica that holds a variant is preferred until it has this many requests.
MAX_ONGOING_REQUESTS = 64
# More wait in each proxy. At this number a proxy answers 429.
MAX_QUEUED_REQUESTS = 512
RETRY_AFTER_SECONDS = 1
# How long a proxy may be wrong about which replica holds a variant.
ROUTING_STATS_SECONDS = 2.0
HEALTH_CHECK_SECONDS = 5.0
# Ray's defaults, 30 s and 600 s, suit replicas that take minutes to load.
UPSCALE_SECONDS = 10.0
DOWNSCALE_SECONDS = 300.0
# Above the deadline of a request, whose answer says more.
AFTER_DEADLINE_SECONDS = 5.0


@dataclass(frozen=True)
class Scale:
    """How many replicas there are, and when."""

    min_replicas: int = 1
    max_replicas: int = 4
    # CPUs that Ray reserves for each replica.
    cpus: int = 2
    # Expected tokens, queued or running, for which there is one replica. None: as many as a batch has.
    target_tokens: int | None = None


def serve_config(settings: Settings, scale: Scale) -> dict[str, Any]:
    """Returns the Serve config of a store. Settings that were set become part of it."""
    catalogue = Catalogue(Store(settings.store))
    check_store(settings, catalogue)
    manifests = [manifest for task in Task for manifest in catalogue.manifests(task)]
    given = settings.model_dump(mode="json", include=settings.model_fields_set - OF_PROXIES - SECRETS)
    # Of the node's cores, a replica uses those that Ray has reserved for it.
    layout = {"workers": scale.cpus, "threads": 1}
    longest_seconds = settings.request_timeout_seconds + AFTER_DEADLINE_SECONDS
    deployment = {
        "name": DEPLOYMENT,
        "ray_actor_options": {"num_cpus": scale.cpus},
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "max_queued_requests": MAX_QUEUED_REQUESTS,
        "backpressure_config": {"status_code": 429, "retry_after_s": RETRY_AFTER_SECONDS},
        "graceful_shutdown_timeout_s": longest_seconds,
        "health_check_period_s": HEALTH_CHECK_SECONDS,
        # New replicas are ready before old ones stop.
        "max_surge_percent": 50,
        "request_router_config": {
            "request_router_class": ROUTER,
            "request_routing_stats_period_s": ROUTING_STATS_SECONDS,
        },
        "autoscaling_config": {
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "upscale_delay_s": UPSCALE_SECONDS,
            "downscale_delay_s": DOWNSCALE_SECONDS,
            "policy": {
                "policy_function": POLICY,
                "policy_kwargs": {"target_tokens": scale.target_tokens or settings.max_batch_tokens},
            },
        },
    }
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.host, "port": settings.port, "request_timeout_s": longest_seconds},
        "applications": [
            {
                "name": "slimseq",
                "route_prefix": "/",
                "import_path": APPLICATION,
                "args": {
                    "settings": {**layout, **given, "store": str(settings.store.resolve())},
                    "digests": {f"{each.task}/{each.variant}": each.digest for each in manifests},
                },
                "deployments": [deployment],
            }
        ],
    }
    ServeDeploySchema.model_validate(copy.deepcopy(config))
    return config
