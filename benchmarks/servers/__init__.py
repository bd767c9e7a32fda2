"""Servers to compare Slimseq's service with, and what they are asked and answer: the part of its contract they need."""

import argparse
from pathlib import Path

from pydantic import BaseModel


class GenerateRequest(BaseModel):
    """One text and all settings of its generation, by transformers' names."""

    text: str
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0
    max_new_tokens: int = 128


class Output(BaseModel):
    """One generated text."""

    text: str
    output_tokens: int


class GenerateResponse(BaseModel):
    """The text's output, in a list of its own as Slimseq has it."""

    outputs: list[Output]


def server_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Returns the parser of `python -m benchmarks.servers.NAME`, with the options that all servers have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.servers.{name}", description=description)
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--prefix", default="", help="put before each text")
    parser.add_argument("--max-input-tokens", type=int, default=512, help="how much of a text is read")
    return parser
