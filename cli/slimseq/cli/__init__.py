"""The command line: `slimseq VERB`. It knows the service and the offline side, and nothing knows it."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
