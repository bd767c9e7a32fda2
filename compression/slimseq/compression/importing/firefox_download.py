"""Downloads a model of Firefox: finds a language pair in Mozilla's registry and brings its verified files to a folder.

The registry is a collection of Remote Settings (https://remote-settings.readthedocs.io/en/latest/client-specifications.html).
The server's root names the base URL of attachments. A record describes one file of a pair. The file is an attachment
that is compressed with zstd. The record has a size and a SHA-256 of the compressed file and of the decompressed file;
both are verified. `slimseq.compression.importing.marian_conversion` converts the downloaded files.
"""

import hashlib
import io
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, Field, ValidationError

from slimseq.compression.context import Context
from slimseq.compression.importing.marian_conversion import MAX_FILE_BYTES
from slimseq.models_store.errors import BadSource, printable
from slimseq.models_store.json_record import first_error

if TYPE_CHECKING:
    from httpx2 import Client

# Begins the name of a source, as in `firefox:en-de`.
SCHEME = "firefox:"
LICENSE = "MPL-2.0"
RECORDS = "buckets/main/collections/translations-models-v2/records"
LANGUAGE = "[a-z]{2,3}(?:-[A-Z][A-Za-z]+)*"
PAIR = re.compile(f"({LANGUAGE})-({LANGUAGE})")
# The registry's types of files, in the order of `FirefoxModel.files`, with the suffix of the downloaded file.
FILE_TYPES = {"model": "bin", "vocab": "spm", "srcvocab": "spm", "trgvocab": "spm", "lex": "s2t.bin"}
# The types of files that make a complete model: one joint vocabulary or two, with or without a shortlist (`lex`).
COMPLETE = [
    ["model", "vocab"],
    ["model", "vocab", "lex"],
    ["model", "srcvocab", "trgvocab"],
    ["model", "srcvocab", "trgvocab", "lex"],
]
# The newest major version of the registry's models that Slimseq was tried with.
MAX_MAJOR_VERSION = 3
# The whole registry has about 2 MB of records.
MAX_ANSWER_BYTES = 2**25
# The largest window that zstd has without `--ultra` or `--long`. It bounds the memory of a decompression.
MAX_WINDOW_BYTES = 2**27
CHUNK_BYTES = 2**20
TIMEOUT_SECONDS = 30.0
# Pauses before the second, third and fourth try.
PAUSE_SECONDS = (1.0, 2.0, 4.0)

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]


class Attachment(BaseModel):
    """The compressed file of a record. `size` and `hash` are those of the compressed bytes."""

    location: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")
    hash: Sha256
    size: Bytes


class FileRecord(BaseModel):
    """A file of a model, as the registry describes it. `size` and `hash` are those of the decompressed bytes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    source: str = Field(alias="sourceLanguage", pattern=f"^{LANGUAGE}$")
    target: str = Field(alias="targetLanguage", pattern=f"^{LANGUAGE}$")
    architecture: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,50}$")
    version: str = Field(pattern=r"^\d{1,4}(\.\d{1,4}){0,3}([a-z]+\d{0,4})?$")
    file_type: Literal["model", "vocab", "srcvocab", "trgvocab", "lex"] = Field(alias="fileType")
    size: Bytes = Field(alias="decompressedSize")
    hash: Sha256 = Field(alias="decompressedHash")
    attachment: Attachment

    @property
    def order(self) -> tuple[bool, list[int], str]:
        """Key to sort versions: a release such as 3.0 is above every preview such as 3.1a1."""
        [(numbers, preview)] = re.findall(r"^([\d.]+)(.*)$", self.version)
        return not preview, [int(number) for number in numbers.split(".")], preview

    @property
    def major_version(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


@dataclass(frozen=True)
class FirefoxModel:
    """A version of a language pair: the records of its files, in the order of `FILE_TYPES`."""

    files: list[FileRecord]

    def describe(self) -> dict[str, Any]:
        """Returns the pair, the version, the architecture, and the bytes of the files, compressed and decompressed."""
        first = self.files[0]
        return {
            "pair": f"{first.source}-{first.target}",
            "version": first.version,
            "architecture": first.architecture,
            "download_bytes": sum(each.attachment.size for each in self.files),
            "bytes": sum(each.size for each in self.files),
        }

    def origin(self) -> dict[str, Any]:
        """Returns what the lineage of an import says: the version, its architecture, and the SHA-256 of each file."""
        first = self.files[0]
        hashes = {each.name: each.hash for each in self.files}
        return {"revision": first.version, "architecture": first.architecture, "files": hashes}


def list_models(context: Context) -> list[FirefoxModel]:
    """Returns the newest version of every pair that can be read, sorted by pair.

    Raises:
        BadSource: the registry cannot be reached, or does not answer as one.
    """
    pairs = defaultdict(list)
    with _client() as client:
        for record in _records(client, context.firefox_url, {}):
            pairs[str(record.get("sourceLanguage")), str(record.get("targetLanguage"))].append(record)
    found = []
    for pair in sorted(pairs):
        # A pair that this version of Slimseq cannot read is not offered.
        with suppress(BadSource):
            found.append(_newest("-".join(pair), pairs[pair]))
    return found


def download(context: Context, source: str, version: str | None, folder: Path) -> FirefoxModel:
    """Downloads a pair such as `firefox:en-de` into a new folder; None takes its newest version that can be read.

    Raises:
        BadSource: there is no such pair or version, the registry cannot be reached, or a file is not what its record
            says; one line says which.
    """
    pair = source.removeprefix(SCHEME)
    match = PAIR.fullmatch(pair)
    if match is None:
        raise BadSource(f"{source} names no pair of languages such as {SCHEME}en-de; {SCHEME} alone lists them")
    with _client() as client:
        wanted = {"sourceLanguage": match[1], "targetLanguage": match[2]}
        records = [each for each in _records(client, context.firefox_url, wanted) if wanted.items() <= each.items()]
        if not records:
            raise BadSource(f"Firefox has no model for {pair}; `slimseq import {SCHEME}` lists its pairs")
        model = _newest(pair, records, version)
        root = _read_json(client, context.firefox_url.rstrip("/") + "/")
        try:
            base = str(root["capabilities"]["attachments"]["base_url"])
        except (KeyError, TypeError) as error:
            raise BadSource(f"{context.firefox_url} is no server of Remote Settings: it has no attachments") from error
        folder.mkdir()
        for file in model.files:
            name = f"{file.file_type}.{match[1]}-to-{match[2]}.{FILE_TYPES[file.file_type]}"
            _download(context, client, f"{base.rstrip('/')}/{file.attachment.location}", file, folder / name)
    return model


def _newest(pair: str, records: Iterable[Mapping[str, Any]], wanted_version: str | None = None) -> FirefoxModel:
    """Returns the newest version that is complete and can be read, or the wanted one.

    Of several architectures of one version, it returns the one with the largest model.
    """
    files_by_version, problems = defaultdict(list), []
    for each in records:
        if each.get("fileType") not in FILE_TYPES:
            continue
        try:
            record = FileRecord.model_validate(each)
            files_by_version[record.version, record.architecture].append(record)
        except ValidationError as error:
            problems.append(f"the record of {printable(str(each.get('name')))}: {first_error(error, 'record')}")
    models = []
    for (version, _), files in files_by_version.items():
        files.sort(key=lambda each: list(FILE_TYPES).index(each.file_type))
        kinds = [each.file_type for each in files]
        if files[0].major_version > MAX_MAJOR_VERSION:
            problems.append(f"its version is {version}, and versions up to {MAX_MAJOR_VERSION} are read")
        elif kinds not in COMPLETE:
            problems.append(f"version {version} has the files {', '.join(kinds)}, not one model and its vocabulary")
        elif wanted_version in (None, version):
            models.append(FirefoxModel(files))
        else:
            problems.append(f"it has version {version} and not {wanted_version}")
    if not models:
        problem = problems[0] if problems else "it has no files"
        raise BadSource(f"Firefox's model for {pair} cannot be read: {problem}")
    return max(models, key=lambda each: (each.files[0].order, each.files[0].size))


def _client() -> "Client":
    import httpx2

    # Files are compressed already, and limits are about the bytes that arrive.
    return httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True, headers={"Accept-Encoding": "identity"})


def _records(client: "Client", server: str, wanted: dict[str, str]) -> list[dict[str, Any]]:
    answer = _read_json(client, f"{server.rstrip('/')}/{RECORDS}", wanted)
    records = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise BadSource(f"{server} is no server of Remote Settings: its answer has no list of records")
    return records


def _read_json(client: "Client", url: str, parameters: dict[str, str] | None = None) -> Any:
    content = io.BytesIO()
    _receive(client, url, content, MAX_ANSWER_BYTES, parameters=parameters)
    try:
        return json.loads(content.getvalue())
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{url} does not answer with JSON") from error


def _receive(
    client: "Client",
    url: str,
    file: BinaryIO,
    limit: int,
    show: Callable[[int], None] = lambda _: None,
    parameters: dict[str, str] | None = None,
) -> None:
    """Writes the content of a URL into a file, at most `limit` bytes.

    After a lost connection, the next try asks for the missing bytes only. `show` gets the number of bytes so far.
    """
    import httpx2

    # No pause follows the last try.
    for pause in (*PAUSE_SECONDS, None):
        start = file.tell()
        if start == limit:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            with client.stream("GET", url, params=parameters, headers=headers) as response:
                response.raise_for_status()
                if response.status_code != httpx2.codes.PARTIAL_CONTENT:
                    # The server sends the whole content again.
                    file.seek(0)
                    file.truncate()
                for chunk in response.iter_raw():
                    if file.tell() + len(chunk) > limit:
                        raise BadSource(f"{url} has more than the {limit:,} bytes that it may have")
                    file.write(chunk)
                    show(file.tell())
            return
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else None
            # From 429 (too many requests) on, a later try may succeed.
            is_final = isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol) or status in range(400, 429)
            if pause is None or is_final:
                reason = str(error).partition("\n")[0] if status is None else f"it answers with status {status}"
                hint = "; without a network, `import` takes the folder of a model" if status is None else ""
                raise BadSource(f"{url} cannot be read: {reason or type(error).__name__}{hint}") from error
            time.sleep(pause)


def _download(context: Context, client: "Client", url: str, record: FileRecord, path: Path) -> None:
    packed, megabyte = record.attachment, 1e6
    with context.progress() as display, tempfile.TemporaryFile(dir=path.parent) as file:
        task = display.add_task(f"Downloading {record.name}", total=packed.size / megabyte, status="", unit="MB")
        _receive(client, url, file, packed.size, lambda count: display.update(task, completed=count / megabyte))
        _verify(f"the download of {record.name}", file, packed.size, packed.hash)
        file.seek(0)
        _decompress(record, file, path)


def _decompress(record: FileRecord, packed: BinaryIO, path: Path) -> None:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(packed, read_across_frames=True) as reader, path.open("w+b") as file:
            while chunk := reader.read(CHUNK_BYTES):
                if file.tell() + len(chunk) > record.size:
                    raise BadSource(f"{record.name} has more bytes than the {record.size:,} of its record")
                file.write(chunk)
            _verify(record.name, file, record.size, record.hash)
    except zstandard.ZstdError as error:
        raise BadSource(f"the download of {record.name} cannot be decompressed: {error}") from error


def _verify(name: str, file: io.BufferedRandom, size: int, expected: str) -> None:
    count = file.tell()
    if count != size:
        raise BadSource(f"{name} has {count:,} bytes, not the {size:,} of its record")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise BadSource(f"{name} has the SHA-256 {digest}, not the {expected} of its record")
