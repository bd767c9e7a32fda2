"""What servers are asked: short and long texts of the bundled sample in turns, with every setting spelled out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from slimseq.evaluation.datasets import BUNDLED, load_examples
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
    def body(self) -> dict[str, Any]:
        """The request as JSON values, the same for every server."""
        return {"text": self.text, **self.options.model_dump(include=set(FIELDS))}


def workload(
    manifest: Manifest,
    tokens: tuple[int, int] = (0, 0),
    num_beams: int | None = None,
    early_stopping: bool | None = None,
) -> list[Ask]:
    """Makes requests, a short and a long one in turns: the shorter half of the texts is short, the other half long.

    Args:
        manifest: the variant's, whose defaults are the settings; no output is longer than these allow.
        tokens: that each short and each long output has: servers do the same work where both are pinned, and those
            that batch only equal settings still can. 0 lets outputs end themselves.
        num_beams: hypotheses of each output; None takes the variant's own number.
        early_stopping: whether a search ends with its last beam that has finished; None takes the variant's own way.
    """
    generation = manifest.generation
    texts = sorted((example.source for example in load_examples(manifest.task, BUNDLED).examples), key=len)
    half = len(texts) // 2

    def options(length: int) -> GenerationOptions:
        length = min(length, generation.max_new_tokens)
        pinned = {"min_new_tokens": length, "max_new_tokens": length} if length else {}
        return generation.options(num_beams=num_beams, early_stopping=early_stopping, **pinned)

    short, long = map(options, tokens)
    pairs = zip(texts[:half], texts[-half:], strict=True)
    return [ask for first, second in pairs for ask in (Ask("short", first, short), Ask("long", second, long))]


def beams_in_words(number_of_beams: int, *, ends_early: bool = False) -> str:
    """Returns how a search is called."""
    if number_of_beams == 1:
        return "greedy"
    return f"{number_of_beams} beams" + (", early stopping" if ends_early else "")
