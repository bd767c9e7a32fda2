"""What a caller wants: texts, and how to generate from them. `plan` makes rows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from slimseq.inference.generator import OnOverflow, TextGenerator
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.language import choose_languages
from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.json_record import first_error

LongInput = Literal["truncate", "map_reduce"]
Format = Literal["text", "html", "markdown"]
# Clients send the same options again and again: their check takes longer than to look them up.
MAX_KNOWN_OPTIONS = 256


@dataclass
class Prompt:
    """Texts and how to generate from them. None means the default of the artifact.

    Args:
        on_overflow: what to do with a text that exceeds the model's context window.
        long_input: whether such a document is truncated or summarized part by part.
        prefix: text before each input.
        format: of the texts. The markup of HTML and Markdown is kept in translations, and removed for summaries.
        protect: whether numbers, URLs and their like have to come out as they went in. Translation only.
        repair: whether outputs with a warning that a further try may remove are generated again.
        speculate: whether greedy search may draft tokens, which changes no output.
        glossary: terms, and what stands for them in translations. A name is for the service to find.
        keep: names that come out as they went in. Translation only, as is the glossary.
    """

    texts: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
    format: Format = "text"
    protect: bool = True
    repair: bool = True
    speculate: bool = True
    glossary: Glossary | Mapping[str, str] | str | None = None
    keep: Sequence[str] = ()

    @cached_property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    def languages(self) -> tuple[str | None, str | None] | None:
        return (self.source, self.target) if self.source or self.target else None

    def place_of(self, index: int) -> str:
        """Returns how errors name one of the texts."""
        return f"text[{index}]" if len(self.texts) > 1 else "text"


def choose_options(generator: TextGenerator, prompt: Prompt) -> tuple[TextGenerator, GenerationOptions]:
    """Returns a generator for the languages of a prompt, and its options. Raises as `plan`, whatever the texts are."""
    generator = choose_languages(generator, prompt.source, prompt.target)
    if prompt.prefix:
        tokens = generator.encode("", prompt.prefix).full_length
        most = generator.max_input_tokens // 2
        if tokens > most:
            raise InvalidPrompt(f"prefix: has {tokens} tokens; at most {most} are allowed, half of the context window")
    options = _known_options(generator, prompt.options) if prompt.options else generator.default_options
    if not prompt.speculate:
        options = options.without_speculation()
    if generator.first_token is not None:
        options = options.beginning_with(generator.first_token)
    return generator, options


def _known_options(generator: TextGenerator, given: dict[str, Any]) -> GenerationOptions:
    """Returns checked options. They are kept for the next prompt that has the same."""
    key = repr(given)
    known = generator.known_options.get(key)
    if known is not None:
        return known
    try:
        options = generator.manifest.generation.options(**given)
    except ValidationError as error:
        raise InvalidOptions(first_error(error, whole="")) from error
    generator.check(options)
    if len(generator.known_options) >= MAX_KNOWN_OPTIONS:
        generator.known_options.clear()
    generator.known_options[key] = options
    return options
