"""The glossaries of the folder `SLIMSEQ_GLOSSARIES`, which requests name. Files are read again when they change."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.keyring import POLL_SECONDS, file_version
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.glossary_files import read_glossary_file

logger = logging.getLogger(__name__)


class GlossaryInfo(BaseModel):
    """A glossary that translations may name."""

    name: str
    terms: int
    error: str | None = Field(description="Why its file cannot be read. The terms are those of before.")


class GlossaryList(BaseModel):
    """The glossaries that translations may name."""

    glossaries: list[GlossaryInfo]


@dataclass
class _File:
    version: tuple[int, ...] | None
    glossary: Glossary
    error: str | None = None


class GlossaryFolder:
    """Follows the files of a folder, `NAME.csv` and `NAME.tbx`; None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._polling: asyncio.Task[None] | None = None
        self.refresh()

    def start(self) -> None:
        self._polling = asyncio.create_task(self._poll()) if self._folder else None

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    def listed(self) -> GlossaryList:
        files = sorted(self._files.items())
        return GlossaryList(
            glossaries=[GlossaryInfo(name=name, terms=len(each.glossary), error=each.error) for name, each in files]
        )

    def named(self, name: str) -> Glossary:
        if (file := self._files.get(name)) is None:
            raise InvalidRequest(f"glossary: there is none named {name[:64]!r}; there are {', '.join(self._files)}")
        if file.error and not len(file.glossary):
            raise InvalidRequest(f"glossary: {file.error}")
        return file.glossary

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Reads what has changed. A file that cannot be read changes no terms."""
        paths = sorted(self._folder.iterdir()) if self._folder and self._folder.is_dir() else []
        files: dict[str, _File] = {}
        for path in paths:
            if path.suffix.lower() in (".csv", ".tbx"):
                version = file_version(path)
                file = self._files.get(path.stem, _File(None, Glossary(())))
                if version != file.version:
                    try:
                        file = _File(version, read_glossary_file(path))
                    except InvalidPrompt as error:
                        file = _File(version, file.glossary, str(error))
                        logger.error("a glossary cannot be read", extra={"reason": str(error)})
                files[path.stem] = file
        self._files = files
