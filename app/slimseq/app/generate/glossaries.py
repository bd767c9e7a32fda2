"""The glossaries of the folder `SLIMSEQ_GLOSSARIES`, which requests name. A file is read again after a change."""

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
    """The files of a folder, `NAME.csv` and `NAME.tbx`; None: there are none. Its methods take long."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[tuple[int, ...], Glossary]] = {}

    def listed(self) -> GlossaryList:
        found = []
        for name in self._paths():
            try:
                found.append(GlossaryInfo(name=name, terms=len(self.named(name))))
            except (InvalidPrompt, InvalidRequest) as error:
                found.append(GlossaryInfo(name=name, terms=0, error=str(error)))
        return GlossaryList(glossaries=found)

    def named(self, name: str) -> Glossary:
        paths = self._paths()
        try:
            status = (path := paths[name]).stat()
        except (KeyError, OSError):
            raise InvalidRequest(f"glossary: there is none of the name {name[:64]!r}; see GET /glossaries") from None
        version = status.st_ino, status.st_mtime_ns, status.st_size
        if path not in self._known or self._known[path][0] != version:
            try:
                self._known[path] = version, read_glossary_file(path)
            except InvalidPrompt as error:
                raise InvalidPrompt(f"glossary: {error}") from error
        return self._known[path][1]

    def _paths(self) -> dict[str, Path]:
        paths = sorted(self._folder.iterdir()) if self._folder else []
        return {path.stem: path for path in paths if path.suffix.lower() in (".csv", ".tbx")}
