"""Checks the signatures of artifacts with trusted public keys. `slimseq.models_store.signing` makes signatures.

A signature is a file `model.sig` as `model-signing` writes it with an elliptic-curve key: a Sigstore bundle with a DSSE
envelope (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md), whose payload lists files with their
sha256. The signature of an artifact lists the files of its manifest. The signature of an export (`onnx/model.sig`)
lists these files and the export's files, so that it belongs to this artifact and to no other. The manifest and the
model card are not signed, because they change with every measurement. `slimseq.models_store.store` checks whether the
files on disk have the hashes of the list. A check of a signature needs `cryptography` alone.
"""

import base64
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from slimseq.models_store.errors import BadSignature, UnusableKey
from slimseq.models_store.files import SIGNATURE, open_inside
from slimseq.models_store.manifest import FileEntry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
# The types that bundle, envelope, statement, predicate and serialization of a signature name.
KINDS = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    PAYLOAD_TYPE,
    "https://in-toto.io/Statement/v1",
    "https://model_signing/signature/v1.0",
    "files",
)
# A list of a thousand files is smaller.
MAX_SIGNATURE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys whose owners may sign artifacts, each as the text of a PEM file."""

    pems: tuple[str, ...]

    @classmethod
    def read(cls, places: Iterable[Path]) -> Self:
        """Reads key files and folders of key files. A file has one key. Hidden files of folders are left out."""
        pems = []
        for place in places:
            visible = [path for path in place.glob("*") if path.is_file() and not path.name.startswith(".")]
            files = sorted(visible) if place.is_dir() else [place]
            if not files:
                raise UnusableKey(f"there is no key in {place}")
            pems += [_read_key(path) for path in files]
        return cls(tuple(pems))

    def check(self, name: str, files: Sequence[FileEntry], signature: Path, root: Path) -> None:
        """Checks that the owner of one of the keys signed a list of files. `root` is the store of the signature."""
        try:
            with open_inside(signature, root, name) as file:
                content = file.read(MAX_SIGNATURE_BYTES)
        except FileNotFoundError:
            raise BadSignature(f"{name} is not signed") from None
        except OSError as error:
            raise BadSignature(f"{name}: {SIGNATURE} cannot be read: {error.strerror}") from error
        try:
            signed_files = _signed_files(self.pems, content)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise BadSignature(f"{name}: {SIGNATURE} is no signature of files") from error
        if signed_files is None:
            raise BadSignature(f"{name}: the signature is not valid: it is not of a trusted key")
        if signed_files != tuple(sorted((entry.path, entry.sha256) for entry in files)):
            raise BadSignature(f"{name}: the signature is not valid: it is of other files")


def _read_key(path: Path) -> str:
    try:
        pem = path.read_text(encoding="ascii")
        _public_key(pem)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no public elliptic-curve key (PEM)"
        raise UnusableKey(f"{path} cannot be used to check signatures: {reason}") from error
    return pem


# A key of the cache holds a signature of up to `MAX_SIGNATURE_BYTES`: about 1 GiB at worst. A usual signature has some
# kilobytes, so that the cache takes some megabytes.
@functools.lru_cache(maxsize=1024)
def _signed_files(pems: tuple[str, ...], content: bytes) -> tuple[tuple[str, str], ...] | None:
    """Returns the paths and hashes that a signature lists, sorted; None if none of the keys made it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    bundle = json.loads(content)
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = (base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"])
    signed_bytes = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload
    # The hash of each curve, as `model-signing` takes it.
    digests = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    for pem in pems:
        key = _public_key(pem)
        try:
            key.verify(signature, signed_bytes, ec.ECDSA(digests[key.key_size]))
        except InvalidSignature:
            continue
        statement = json.loads(payload)
        _check_kinds(bundle, statement)
        return tuple(sorted((each["name"], each["digest"]) for each in statement["predicate"]["resources"]))
    return None


def _check_kinds(bundle: Any, statement: Any) -> None:
    """Raises `ValueError` if a bundle and its statement are not of the types that `model-signing` writes for files."""
    predicate = statement["predicate"]
    kinds = (
        bundle["mediaType"],
        bundle["dsseEnvelope"]["payloadType"],
        statement["_type"],
        statement["predicateType"],
        predicate["serialization"]["method"],
    )
    algorithms = {each["algorithm"] for each in predicate["resources"]}
    if kinds != KINDS or algorithms - {"sha256"}:
        raise ValueError("another kind of signature")


@functools.lru_cache(maxsize=64)
def _public_key(pem: str) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        raise ValueError("no key on P-256, P-384 or P-521")
    return key
