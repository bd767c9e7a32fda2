"""Signs artifacts with OpenSSF's `model-signing` and an elliptic-curve key. `slimseq.models_store.trust` checks.

The signature of an artifact (`model.sig`, a Sigstore bundle) covers the files that its manifest lists, and that of an
export (`onnx/model.sig`) these and the export's files. The manifest and the model card, which change with every
measurement, are not covered.
"""

from collections.abc import Sequence
from pathlib import Path

from slimseq.models_store.disk import writing_to
from slimseq.models_store.errors import UnusableKey
from slimseq.models_store.files import SIGNATURE, short_name
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import FileEntry, Task
from slimseq.models_store.record_files import signed_files
from slimseq.models_store.store import Store


def sign(store: Store, task: Task, variant: str, private_key: Path, password: str | None = None) -> list[str]:
    """Signs an artifact and its exports.

    Args:
        store: the store of the artifact.
        task: the artifact's task.
        variant: its name.
        private_key: a PEM file with an elliptic-curve key (P-256, P-384 or P-521).
        password: of the key, if it has one.

    Returns:
        The signatures, relative to the artifact's folder. They replace earlier ones.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does; files that differ from their hashes are not signed.
        UnusableKey: the key cannot be used.
        CannotWrite: the disk is full or read-only.
    """
    store.verify(task, variant)
    folder, manifest = store.folder(task, variant), store.manifest(task, variant)
    signed = {SIGNATURE: manifest.files}
    for name in DERIVED_FORMATS:
        if export := store.export_of(task, variant, name):
            signed[f"{name}/{SIGNATURE}"] = signed_files(manifest, name, export)
    for place, files in signed.items():
        _sign(folder, files, folder / place, private_key, password)
    return list(signed)


def _sign(folder: Path, files: Sequence[FileEntry], place: Path, private_key: Path, password: str | None) -> None:
    from model_signing import hashing, signing

    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private_key, password=password)  # type: ignore[no-untyped-call]
    except Exception as error:  # cryptography raises many types for a file that is not a key
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnusableKey(f"{private_key} cannot be used to sign: {reason}") from error
    listed = {folder / file.path for file in files}
    others = [path for path in folder.rglob("*") if path.is_file() and path not in listed]
    hashed = hashing.Config().set_ignored_paths(paths=others)  # type: ignore[no-untyped-call]
    writing = place.with_name(f".tmp-{SIGNATURE}")
    with writing_to(Path(short_name(place))):
        try:
            config.set_hashing_config(hashed).sign(folder, writing)
            writing.replace(place)
        finally:
            writing.unlink(missing_ok=True)
