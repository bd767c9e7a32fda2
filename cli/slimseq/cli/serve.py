"""`serve` and `deploy`: the service, with every setting of `slimseq.app.settings` as an option."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import ValidationError

from slimseq.app.settings import Settings
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import POSITIVE, without
from slimseq.models_store.places import pip_install

# How settings become options. Those that hold secrets do not: all users of the machine see a command line.
SETTINGS = Parameter(name="*", negative="")


def serve(
    *, settings: Annotated[Settings | None, SETTINGS, without("admin_token", "limits_url", "preload")] = None
) -> None:
    """Serve the variants of a store over HTTP, on http://127.0.0.1:8000 by default.

    Every option is also an environment variable: `--max-texts` is `SLIMSEQ_MAX_TEXTS`. An option has precedence.
    `SLIMSEQ_ADMIN_TOKEN`, `SLIMSEQ_LIMITS_URL` and `SLIMSEQ_PRELOAD` are environment variables only.
    """
    from slimseq.app.__main__ import main

    sys.exit(main(settings))


def deploy(
    target: Literal["ray"],
    file: Path = Path("serve.yaml"),
    /,
    *,
    min_replicas: Annotated[int, POSITIVE] = 1,
    max_replicas: Annotated[int, POSITIVE] = 4,
    cpus: Annotated[int, POSITIVE] = 2,
    target_requests: Annotated[int, POSITIVE] = 8,
    force: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[
        Settings | None, SETTINGS, without("admin_token", "database_url", "limits_url", "preload")
    ] = None,
) -> None:
    """Write the Serve config of a store, for `serve run` on one machine or `serve deploy` on a cluster.

    The settings that are given here, or in `SLIMSEQ_*` variables, are in the file. Secrets are not: set
    `SLIMSEQ_ADMIN_TOKEN` and `SLIMSEQ_DATABASE_URL` where Ray starts on each node. The file has the digests of the
    artifacts too: after a change of an artifact, write and deploy the file again, and replicas are replaced one by one.

    Args:
        target: What runs the service: `ray`, for Ray Serve.
        file: File to write.
        min_replicas: Minimum number of replicas.
        max_replicas: Maximum number of replicas.
        cpus: CPUs that Ray reserves for each replica.
        target_requests: Unfinished requests for each replica.
        force: Replace the file.
    """
    if importlib.util.find_spec("ray") is None:
        raise BadParameters(f"deploy ray needs Ray: {pip_install('cluster')}")
    if file.exists() and not force:
        raise BadParameters(f"{file} exists; --force replaces it")
    if not file.parent.is_dir():
        raise BadParameters(f"there is no folder {file.parent}")
    if min_replicas > max_replicas:
        raise BadParameters(f"--min-replicas is {min_replicas}, and --max-replicas {max_replicas}")
    import yaml

    from slimseq.app.cluster.config import serve_config
    from slimseq.app.http.problems import describe
    from slimseq.models_store.files import write_text

    try:
        config = serve_config(settings or Settings(), min_replicas, max_replicas, cpus, target_requests)
    except ValidationError as error:
        raise BadParameters(describe(error.errors())) from error
    write_text(file, yaml.safe_dump(config, sort_keys=False))
    # Where Ray starts, it would send usage statistics without the variable.
    one_machine = f"RAY_USAGE_STATS_ENABLED=0 serve run {file}"
    sys.stdout.write(f"Wrote {file}. Next, on one machine: {one_machine}. On a cluster: serve deploy {file}\n")
