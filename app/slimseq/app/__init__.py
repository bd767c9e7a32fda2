"""The service: compressed variants behind HTTP, measured while they serve."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
