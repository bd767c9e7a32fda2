"""The command line: `slimseq VERB`. It knows the service and the offline side, and nothing knows it."""
