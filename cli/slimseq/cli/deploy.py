"""`deploy`: the files that start the service on a cluster. So far for Ray Serve."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from slimseq.app.http.problems import describe
from slimseq.app.settings import Settings
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text

# Secrets come from the environment of each node; a list of pairs is no option.
NOT_OPTIONS = ("admin_token", "database_url", "limits_url", "preload")
AT_LEAST_ONE = Parameter(validator=Number(gte=1))


class CannotDeploy(SlimseqError):
    """Raised when the files of a deployment cannot be written. Names the reason."""


def deploy(
    target: Annotated[Literal["ray"], Parameter(help="What runs the service: `ray`, for Ray Serve.")],
    file: Annotated[Path, Parameter(help="File to write.")] = Path("serve.yaml"),
    /,
    *,
    min_replicas: Annotated[int, AT_LEAST_ONE, Parameter(help="Minimum number of replicas.")] = 1,
    max_replicas: Annotated[int, AT_LEAST_ONE, Parameter(help="Maximum number of replicas.")] = 4,
    cpus: Annotated[int, AT_LEAST_ONE, Parameter(help="CPUs that Ray reserves for each replica.")] = 2,
    target_tokens: Annotated[
        int | None,
        AT_LEAST_ONE,
        Parameter(help="Expected tokens, queued or running, for each replica. By default --max-batch-tokens."),
    ] = None,
    force: Annotated[bool, Parameter(negative="", help="Replace the file.")] = False,
    settings: Annotated[
        Settings | None, Parameter(name="*", negative="", parse=re.compile(f"^(?!({'|'.join(NOT_OPTIONS)})$)"))
    ] = None,
) -> None:
    """Write the Serve config of a store, for `serve run` on one machine or `serve deploy` on a cluster.

    The settings that are given here, or in `SLIMSEQ_*` variables, are in the file. Secrets are not: set
    `SLIMSEQ_ADMIN_TOKEN` and `SLIMSEQ_DATABASE_URL` where Ray starts on each node. The file has the digests of the
    artifacts too: after a change of an artifact, write and deploy the file again, and replicas are replaced one by one.
    """
    if importlib.util.find_spec("ray") is None:
        raise CannotDeploy("deploy ray needs Ray: pip install 'slimseq[cluster]'")
    if file.exists() and not force:
        raise CannotDeploy(f"{file} exists; --force replaces it")
    if not file.parent.is_dir():
        raise CannotDeploy(f"there is no folder {file.parent}")
    if min_replicas > max_replicas:
        raise CannotDeploy(f"--min-replicas is {min_replicas}, and --max-replicas {max_replicas}")
    import yaml

    from slimseq.app.cluster.config import Scale, serve_config

    try:
        config = serve_config(settings or Settings(), Scale(min_replicas, max_replicas, cpus, target_tokens))
    except ValidationError as error:
        raise CannotDeploy(describe(error.errors())) from error
    write_text(file, yaml.safe_dump(config, sort_keys=False))
    sys.stdout.write(f"Wrote {file}. Next, on one machine: serve run {file}. On a cluster: serve deploy {file}\n")
