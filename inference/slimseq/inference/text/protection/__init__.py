"""Spans that a translation must not change: found, masked, checked in the output, and put back. `passes` has the flow."""
