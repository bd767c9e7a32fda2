"""Makes the Serve config of a store, which `serve run` and `serve deploy` read. Checked with Ray's own schema."""

import copy
from typing import Any

from ray.serve.schema import ServeDeploySchema

from slimseq.app.cluster.replica import DEPLOYMENT
from slimseq.app.services import check_store
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

APPLICATION = "slimseq.app.cluster.replica:application"
# Settings of Ray's proxies, and not of the replicas: they become `http_options` of the config.
PROXY_SETTINGS = {"host", "port"}
# Secrets are not written into the config. They are read from the environment of each node.
SECRET_SETTINGS = {"admin_token", "database_url", "limits_url"}
# Maximum number of requests that run or wait in a replica.
MAX_ONGOING_REQUESTS = 64
# Maximum number of further requests that wait in a proxy. Above it, the proxy answers 429.
MAX_QUEUED_REQUESTS = 512
RETRY_AFTER_SECONDS = 1
# Ray's timeout is this much longer than the service's own deadline, whose answer says more.
AFTER_DEADLINE_SECONDS = 5.0


def serve_config(
    settings: Settings, min_replicas: int, max_replicas: int, cpus: int, target_requests: int
) -> dict[str, Any]:
    """Returns the Serve config of a store. Settings that were set become part of it.

    Args:
        settings: of the service.
        min_replicas: Ray always runs as many.
        max_replicas: Ray never runs more.
        cpus: which Ray reserves for each replica.
        target_requests: unfinished requests for each replica, by which Ray chooses the number of replicas.
    """
    catalogue = Catalogue(Store(settings.store))
    check_store(settings, catalogue)
    manifests = [manifest for task in Task for manifest in catalogue.manifests(task)]
    replica_settings = settings.model_fields_set - PROXY_SETTINGS - SECRET_SETTINGS
    given = settings.model_dump(mode="json", include=replica_settings)
    # By default a service uses all cores of its node. A replica uses those that Ray has reserved for it.
    layout = {"workers": cpus, "threads": 1}
    longest_seconds = settings.request_timeout_seconds + AFTER_DEADLINE_SECONDS
    deployment = {
        "name": DEPLOYMENT,
        "ray_actor_options": {"num_cpus": cpus},
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "max_queued_requests": MAX_QUEUED_REQUESTS,
        "backpressure_config": {"status_code": 429, "retry_after_s": RETRY_AFTER_SECONDS},
        "graceful_shutdown_timeout_s": longest_seconds,
        # New replicas are ready before old ones stop.
        "max_surge_percent": 50,
        "autoscaling_config": {
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "target_ongoing_requests": target_requests,
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
