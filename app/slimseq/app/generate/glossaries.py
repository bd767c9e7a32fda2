"""The glossaries of the folder `SLIMSEQ_GLOSSARIES`, which requests name. Files are read again when they change."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.keyring import POLL_SECONDS, file_version
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import Glossary, Terms, read_glossaries
from slimseq.inference.text.glossary_files import SUFFIXES, UnusableGlossary, read_glossary_file

logger = logging.getLogger(__name__)


class GlossaryInfo(BaseModel):
    """A glossary that requests may name."""

    name: str
    languages: list[tuple[str, str]] = Field(description="Pairs of source and target that it may be used for.")
    terms: int = Field(description="Number of terms of all pairs.")
    error: str | None = Field(
        description="Why the file, or one of its pairs, cannot be used. The terms are those of before."
    )


class GlossaryList(BaseModel):
    """All named glossaries."""

    glossaries: list[GlossaryInfo]


class GlossaryFolder:
    """The readable glossaries of a folder by name; without a folder, none. Used from the event loop."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._versions: dict[Path, tuple[int, ...] | None] = {}
        self._glossaries: dict[str, Glossary] = {}
        self._errors: dict[str, str] = {}
        self._polling: asyncio.Task[None] | None = None
        self.refresh()

    def start(self) -> None:
        if self._folder is not None:
            self._polling = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    def listed(self) -> GlossaryList:
        found = []
        for name in sorted({*self._glossaries, *self._errors}):
            own = self._glossaries.get(name, Glossary({}))
            counts = {pair: len(terms) for pair, terms in own.terms.items() if pair and isinstance(terms, Terms)}
            faults = [self._errors[name]] if name in self._errors else []
            faults += [str(fault) for fault in own.terms.values() if isinstance(fault, InvalidPrompt)]
            found.append(
                GlossaryInfo(
                    name=name, languages=list(counts), terms=sum(counts.values()), error="; ".join(faults) or None
                )
            )
        return GlossaryList(glossaries=found)

    def read(self, glossary: Mapping[str, str] | str | None, keep: list[str]) -> tuple[Glossary, ...]:
        """Returns the glossaries of a request, which has one of its own or names one."""
        if isinstance(glossary, str):
            if glossary not in self._glossaries:
                names = ", ".join(sorted(self._glossaries)) or "none"
                reason = self._errors.get(glossary, f"there is no glossary {glossary!r}; there are {names}")
                raise InvalidRequest(f"glossary: {reason}")
            return read_glossaries(self._glossaries[glossary], keep)
        return read_glossaries(glossary, keep)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Reads what has changed. A file that cannot be read changes nothing."""
        with suppress(OSError):
            paths = sorted(self._folder.iterdir()) if self._folder is not None else []
            versions = {path: file_version(path) for path in paths if path.suffix.lower() in SUFFIXES}
            changed = [path for path in versions if versions[path] != self._versions.get(path)]
            glossaries, errors = self._glossaries.copy(), self._errors.copy()
            for name in {path.stem for path in self._versions.keys() - versions}:
                glossaries.pop(name, None)
                errors.pop(name, None)
            for path in changed:
                try:
                    glossaries[path.stem] = read_glossary_file(path)
                    errors.pop(path.stem, None)
                except UnusableGlossary as error:
                    errors[path.stem] = str(error)
                    logger.error("a glossary cannot be read", extra={"reason": str(error)})
            self._versions, self._glossaries, self._errors = versions, glossaries, errors
