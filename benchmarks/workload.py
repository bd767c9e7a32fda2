"""What servers are asked: short and long texts of the bundled sample in turns, with every setting spelled out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from slimseq.evaluation.examples import Example
from slimseq.models_store.manifest import GenerationOptions, Manifest

Kind = Literal["short", "long"]

# The settings that all servers know.
FIELDS = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_new_tokens", "max_new_tokens")


@dataclass(frozen=True)
class Ask:
    """One request: a text, and how to generate from it."""

    kind: Kind
    text: str
    options: GenerationOptions

    @cached_property
    def body(self) -> bytes:
        """The request as JSON, the same for every server."""
        settings: dict[str, Any] = self.options.model_dump(include=set(FIELDS))
        return json.dumps({"text": self.text, **settings}).encode()


@dataclass(frozen=True)
class Lengths:
    """Tokens that each output has: servers do the same work where both ends are pinned. 0 lets outputs end themselves.

    Two lengths, not one a text, so that servers which batch only what has equal settings can.
    """

    short: int = 16
    long: int = 64


@dataclass(frozen=True)
class Searching:
    """How outputs are searched for; None takes a variant's own.

    Args:
        beams: hypotheses of each output.
        early_stopping: whether a search ends with its last beam that has finished.
    """

    beams: int | None = None
    early_stopping: bool | None = None


def workload(
    manifest: Manifest, examples: Sequence[Example], lengths: Lengths, searching: Searching | None = None
) -> list[Ask]:
    """Makes requests, a short and a long one in turns.

    Args:
        manifest: the variant's, whose defaults are the settings; no length goes beyond what it generates.
        examples: whose sources are the texts: the shorter half is short, the longer half long.
        lengths: of the outputs.
        searching: how they are searched for; None takes the variant's own way.

    Returns:
        As many requests as there are examples, but one where their number is odd.
    """
    ordered = sorted((example.source for example in examples), key=len)
    half = max(len(ordered) // 2, 1)
    own = searching or Searching()
    short, long = (options_of(manifest, length, own) for length in (lengths.short, lengths.long))
    pairs = zip(ordered[:half], ordered[-half:], strict=True)
    return [ask for first, second in pairs for ask in (Ask("short", first, short), Ask("long", second, long))]


def options_of(manifest: Manifest, tokens: int, searching: Searching) -> GenerationOptions:
    """Returns the variant's own settings with outputs of exactly so many tokens; 0 lets them end themselves."""
    tokens = min(tokens, manifest.generation.max_new_tokens)
    pinned = {"min_new_tokens": tokens, "max_new_tokens": tokens} if tokens else {}
    return manifest.generation.options(num_beams=searching.beams, early_stopping=searching.early_stopping, **pinned)


def beams_in_words(number_of_beams: int, *, ends_early: bool = False) -> str:
    """Returns how a search is called."""
    if number_of_beams == 1:
        return "greedy"
    return f"{number_of_beams} beams" + (", early stopping" if ends_early else "")
