"""Measurements of Slimseq, as commands: `python -m benchmarks.NAME --help`.

A command is a module of this folder. `loads`, `systems` and `texts` have what several of them need, or what is long.
"""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
