"""Signs artifacts and checks signatures, with OpenSSF's `model-signing` and a pair of elliptic-curve keys.

The signature (`model.sig`, a Sigstore bundle) covers the files that the manifest lists. It does not cover the manifest
and the model card, which change with every measurement, nor exports, which derive from the signed files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.models_store.errors import BadSignature, UnusableKey
from slimseq.models_store.files import SIGNATURE
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from model_signing import hashing


def sign(store: Store, task: Task, variant: str, private_key: Path, password: str | None = None) -> Path:
    """Signs an artifact.

    Args:
        store: the store of the artifact.
        task: the artifact's task.
        variant: its name.
        private_key: a PEM file with an elliptic-curve key (P-256, P-384 or P-521).
        password: of the key, if it has one.

    Returns:
        The path of the signature. It replaces an earlier one.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does; files that differ from their hashes are not signed.
        UnusableKey: the key cannot be used.
    """
    from model_signing import signing

    store.verify(task, variant)
    folder = store.folder(task, variant)
    writing = folder / f".tmp-{SIGNATURE}"
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private_key, password=password)  # type: ignore[no-untyped-call]
    except Exception as error:  # cryptography raises many types for a file that is not a key
        raise UnusableKey(f"{private_key} cannot be used to sign: {_reason(error)}") from error
    try:
        config.set_hashing_config(_listed_files(store, task, variant)).sign(folder, writing)
        writing.replace(folder / SIGNATURE)
    finally:
        writing.unlink(missing_ok=True)
    return folder / SIGNATURE


def check_signature(store: Store, task: Task, variant: str, public_key: Path) -> None:
    """Checks that an artifact's files are those that the key's owner signed.

    Args:
        store: the store of the artifact.
        task: the artifact's task.
        variant: its name.
        public_key: a PEM file.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does.
        BadSignature: there is no signature, or it belongs to another key or other files.
        UnusableKey: the key cannot be used.
    """
    from model_signing import verifying

    store.verify(task, variant)
    folder = store.folder(task, variant)
    if not (folder / SIGNATURE).exists():
        raise BadSignature(f"{task}/{variant} is not signed")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)  # type: ignore[no-untyped-call]
    except Exception as error:  # as above
        raise UnusableKey(f"{public_key} cannot be used to check signatures: {_reason(error)}") from error
    with _refusing(f"{task}/{variant}"):
        config.set_hashing_config(_listed_files(store, task, variant)).verify(folder, folder / SIGNATURE)


def _listed_files(store: Store, task: Task, variant: str) -> "hashing.Config":
    """Returns a hashing configuration for the files that the manifest lists."""
    from model_signing import hashing

    folder = store.folder(task, variant)
    listed = {folder / file.path for file in store.manifest(task, variant).files}
    others = [path for path in folder.rglob("*") if path.is_file() and path not in listed]
    return hashing.Config().set_ignored_paths(paths=others)  # type: ignore[no-untyped-call]


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library also raises errors of sigstore and cryptography
        raise BadSignature(f"{name}: the signature is not valid: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
