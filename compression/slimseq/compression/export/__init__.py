"""Turns an artifact's safetensors into the formats that runtimes open."""
