"""Spans that no translation may change: found, masked, checked in the output, put back. `passes` has the flow."""
