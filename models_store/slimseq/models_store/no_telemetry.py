"""Nothing leaves the machine: switches off the telemetry that libraries would send to their makers.

Libraries read these variables when they are imported. So every room imports this module in its `__init__`, which runs
before any other module of the room. Child processes inherit the variables. Values in the user's own environment are
replaced, because a private service must not depend on them.
"""

import os
import sys

SWITCHES = {
    # ONNX Runtime writes `~/.cache/Microsoft/DeveloperTools/.onnxruntime` as soon as it is imported, and sends events
    # with the names of models (its Privacy.md).
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, hf_xet and transformers: the versions of libraries, which program calls them, how long a download
    # takes.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The command of huggingface_hub asks PyPI for a newer version.
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    # datasets reports each data set that it loads.
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    # Ray sends the size of the cluster and the names of the used libraries. A cluster that runs already has its own
    # setting (docs/guides/cluster.md).
    "RAY_USAGE_STATS_ENABLED": "0",
    # A convention that other libraries follow: https://consoledonottrack.com
    "DO_NOT_TRACK": "1",
}


def switch_off() -> None:
    """Sets the variables. If ONNX Runtime was imported before, stops it from sending more."""
    os.environ.update(SWITCHES)
    imported_before = sys.modules.get("onnxruntime")
    if imported_before is not None:
        imported_before.disable_telemetry_events()


switch_off()
