import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from slimseq.models_store.errors import BadSignature, CorruptArtifact, UnusableKey
from slimseq.models_store.manifest import Task
from slimseq.models_store.signing import check_signature, sign
from slimseq.models_store.store import Store, write_manifest
from tests.command_line import compression

TASK = Task.TRANSLATION


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Writes a new pair of keys and returns the private and the public one's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def test_a_signed_artifact_is_known_by_its_key_and_by_no_other(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    _, stranger = keys(tmp_path, "theirs")
    digest = own_store.manifest(TASK, "original").digest

    sign(own_store, TASK, "original", private)

    check_signature(own_store, TASK, "original", public)
    assert own_store.manifest(TASK, "original").digest == digest
    with pytest.raises(BadSignature, match="is not valid"):
        check_signature(own_store, TASK, "original", stranger)


def test_measurements_leave_a_signature_valid_and_other_files_do_not(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "original", private)
    folder = own_store.folder(TASK, "original")
    manifest = own_store.manifest(TASK, "original")

    write_manifest(folder, manifest.model_copy(update={"description": "Measured since."}))
    check_signature(own_store, TASK, "original", public)
    (folder / "config.json").write_text("{}")

    with pytest.raises(CorruptArtifact, match=r"config\.json"):
        check_signature(own_store, TASK, "original", public)


def test_an_artifact_with_a_forged_manifest_does_not_pass(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "original", private)
    signature = (own_store.folder(TASK, "original") / "model.sig").read_bytes()

    # Another artifact, whose manifest says that it is the one that was signed.
    folder = own_store.folder(TASK, "original")
    shutil.rmtree(folder)
    shutil.copytree(own_store.folder(TASK, "quantized"), folder)
    forged = own_store.manifest(TASK, "quantized").model_copy(update={"variant": "original"})
    write_manifest(folder, forged)
    (folder / "model.sig").write_bytes(signature)

    with pytest.raises(BadSignature, match="is not valid"):
        check_signature(own_store, TASK, "original", public)


def test_the_command_line_signs_and_verifies(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    where = ("--store", own_store.root)

    unsigned = compression("verify", "translation", "original", "--signature", public, *where)
    signed = compression("sign", "translation", "original", "--key", private, *where)
    verified = compression("verify", "translation", "original", "--signature", public, *where)

    assert unsigned.code == 1 and "is not signed" in unsigned.out
    assert signed.code == 0, signed.error
    assert verified.code == 0, verified.out


def test_what_is_no_key_is_refused(own_store: Store, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    with pytest.raises(UnusableKey, match=r"nonsense\.pem cannot be used to sign"):
        sign(own_store, TASK, "original", nonsense)
