"""What decides the outputs of rows beside their texts and the artifact, and the id of a row, which follows from all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimseq.inference.generator import OnOverflow
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.rows import Format, LongInput, Prompt
from slimseq.models_store.manifest import Manifest


@dataclass(frozen=True)
class RowSettings:
    """The fields of a request, apart from its texts. `Prompt` explains them; None means the artifact's default.

    Args:
        options: generation options in place of the artifact's defaults.
        glossary: terms, and what stands for them in translations.
        as_is: whether texts go to the model whole and as they are, as `evaluate` and `distill` give them to it: without
            sentences, protected spans, warnings and repairs.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
    format: Format = "text"
    protect: bool = True
    repair: bool = True
    glossary: Glossary | None = None
    keep: tuple[str, ...] = ()
    as_is: bool = False

    def prompt(self, text: str) -> Prompt:
        """Returns the prompt of one text."""
        return Prompt(
            [text],
            dict(self.options),
            on_overflow=self.on_overflow,
            long_input=self.long_input,
            stop=self.stop,
            prefix=self.prefix,
            source=self.source,
            target=self.target,
            format=self.format,
            protect=self.protect,
            repair=self.repair,
            glossary=self.glossary,
            keep=self.keep,
        )

    def described(self) -> dict[str, Any]:
        """Returns the settings beside the generation options as JSON values, without those that have no effect."""
        values: dict[str, Any] = {"source": self.source, "target": self.target, "as_is": self.as_is}
        if self.as_is:
            return values
        values |= {"format": self.format, "protect": self.protect, "repair": self.repair, "keep": list(self.keep)}
        values |= {"long_input": self.long_input, "stop": list(self.stop)}
        values["glossary"] = [] if self.glossary is None else self.glossary.pairs
        return values


class RowIds:
    """Ids of rows: hashes of the text, of the artifact's digest and of the settings.

    A row has the same id wherever it is in a file, and whatever machine generates it. So outputs that were generated
    elsewhere are known by their id.

    Raises:
        InvalidOptions, pydantic.ValidationError: an option is out of range or contradicts another.
    """

    def __init__(self, manifest: Manifest, settings: RowSettings) -> None:
        generation = manifest.generation
        described = {
            "digest": manifest.digest,
            "options": generation.options(**settings.options).model_dump(),
            "prefix": generation.prefix if settings.prefix is None else settings.prefix,
            "max_input_tokens": generation.max_input_tokens,
            "settings": settings.described(),
        }
        self.key = _hash(described)
        self._strips = settings.as_is

    def of(self, text: Any) -> str:
        """Returns the id of a row. A text that is no string has an id too: its error is looked up by it."""
        if self._strips and isinstance(text, str):
            text = text.strip()
        return _hash([self.key, text])[:32]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
