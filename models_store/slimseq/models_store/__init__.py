"""The artifact: its manifest, its files, its verification and its signature."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
