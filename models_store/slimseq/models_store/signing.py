"""Signs artifacts with OpenSSF's `model-signing`. `slimseq.models_store.trusted_keys` checks signatures."""

from collections.abc import Sequence
from pathlib import Path

from slimseq.models_store.errors import UnusableKey
from slimseq.models_store.files import SIGNATURE, short_name, signed_files, writing_to
from slimseq.models_store.manifest import DERIVED_FORMATS, FileEntry, Task
from slimseq.models_store.store import Store


def sign(store: Store, task: Task, variant: str, private_key: Path, password: str | None = None) -> list[str]:
    """Signs an artifact and its exports with an elliptic-curve key (P-256, P-384 or P-521) in a PEM file.

    Returns:
        The paths of the signatures, relative to the artifact's folder. New signatures replace earlier ones.
    """
    store.verify(task, variant)
    folder = store.folder(task, variant)
    manifest = store.manifest(task, variant)
    signed = {SIGNATURE: manifest.files}
    for name in DERIVED_FORMATS:
        export = store.export_of(task, variant, name)
        if export is not None:
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
