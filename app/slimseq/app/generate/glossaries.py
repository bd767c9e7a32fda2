"""The glossaries of the folder `SLIMSEQ_GLOSSARIES`, which requests name. A file is read again after a change."""

import threading
from pathlib import Path

from pydantic import BaseModel, Field

from slimseq.app.errors import InvalidRequest
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.glossary_files import read_glossary_file


class GlossaryInfo(BaseModel):
    """A glossary that translations may name."""

    name: str
    terms: int
    error: str | None = Field(default=None, description="Why its file cannot be read.")


class GlossaryList(BaseModel):
    """The glossaries that translations may name."""

    glossaries: list[GlossaryInfo]


class GlossaryFolder:
    """The glossaries of a folder: the files `NAME.csv` and `NAME.tbx`. Without a folder there are none.

    Its methods read files, so that they may take long. Any thread may call them.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        # By file, what was last read: the version of the file, and its glossary or why it cannot be read.
        self._last_read: dict[Path, tuple[tuple[int, ...], Glossary | str]] = {}
        self._reading = threading.Lock()

    def listed(self) -> GlossaryList:
        glossaries = []
        for name in self._paths():
            try:
                glossaries.append(GlossaryInfo(name=name, terms=len(self.named(name))))
            except (InvalidPrompt, InvalidRequest) as error:
                glossaries.append(GlossaryInfo(name=name, terms=0, error=str(error)))
        return GlossaryList(glossaries=glossaries)

    def named(self, name: str) -> Glossary:
        """Returns the glossary of a name, read again if its file has changed.

        Raises:
            InvalidRequest: there is no file of the name.
            InvalidPrompt: the file cannot be read.
        """
        try:
            path = self._paths()[name]
            status = path.stat()
        except (KeyError, OSError):
            raise InvalidRequest(f"glossary: there is none of the name {name[:64]!r}; see GET /glossaries") from None
        # The inode tells a file that replaced another one within the same tick of the clock.
        version = status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
        with self._reading:
            last_version, found = self._last_read.get(path, (None, ""))
            if version != last_version:
                found = self._read(path)
                self._last_read[path] = (version, found)
        if isinstance(found, str):
            raise InvalidPrompt(found)
        return found

    def _read(self, path: Path) -> Glossary | str:
        try:
            return read_glossary_file(path)
        except InvalidPrompt as error:
            if isinstance(error.__cause__, OSError):
                # Not a fault of the content: the next request tries to read the file again.
                raise InvalidPrompt(f"glossary: {error}") from error
            return f"glossary: {error}"

    def _paths(self) -> dict[str, Path]:
        """Returns the regular files by name. One may vanish at any time, as may the folder."""
        paths = sorted(self._folder.glob("*")) if self._folder else []
        named = (path for path in paths if path.suffix.lower() in (".csv", ".tbx") and path.name.isprintable())
        return {path.stem: path for path in named if path.is_file()}
