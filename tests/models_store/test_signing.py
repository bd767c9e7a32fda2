"""Signatures of artifacts and exports: what a trusted key proves, and what is refused."""

import base64
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from slimseq.models_store.errors import BadSignature, CorruptArtifact, UnusableKey
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Task
from slimseq.models_store.signing import sign
from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys
from tests.command_line import compression

TASK = Task.TRANSLATION


def keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """Writes a new pair of keys. Returns the files of the private and of the public key."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private = folder / f"{name}.pem"
    public = folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def checked(store: Store, *keys: Path) -> Store:
    """Returns the same store with trusted keys."""
    return Store(store.root, TrustedKeys.read(keys))


def test_a_signed_artifact_is_known_by_its_key_and_by_no_other(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    _, stranger = keys(tmp_path, "theirs")
    digest = own_store.manifest(TASK, "original").digest

    sign(own_store, TASK, "original", private)

    checked(own_store, public).verify(TASK, "original")
    assert own_store.manifest(TASK, "original").digest == digest
    with pytest.raises(BadSignature, match="is not valid"):
        checked(own_store, stranger).verify(TASK, "original")


def test_measurements_leave_a_signature_valid_and_other_files_do_not(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "original", private)
    folder = own_store.folder(TASK, "original")
    manifest = own_store.manifest(TASK, "original")

    write_manifest(folder, manifest.model_copy(update={"description": "Measured since."}))
    checked(own_store, public).verify(TASK, "original")
    (folder / "config.json").write_text("{}")

    with pytest.raises(CorruptArtifact, match=r"config\.json"):
        checked(own_store, public).verify(TASK, "original")


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
        checked(own_store, public).verify(TASK, "original")


def test_the_command_line_signs_and_verifies_one_or_all(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    where = ("--store", own_store.root)

    unsigned = compression("verify", "translation", "original", "--signature", public, *where)
    one = compression("sign", "translation", "original", "--key", private, *where)
    signed = compression("sign", "--key", private, *where)
    verified = compression("verify", "--signature", public, *where)

    assert unsigned.code == 1
    assert "is not signed" in unsigned.out
    assert one.code == 0, one.error
    assert "translation/original: signed, model.sig and onnx/model.sig" in signed.out.splitlines(), signed.out
    assert verified.code == 0, verified.out


def test_a_file_that_is_no_key_is_refused(own_store: Store, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    with pytest.raises(UnusableKey, match=r"nonsense\.pem cannot be used to sign"):
        sign(own_store, TASK, "original", nonsense)


def test_an_export_has_a_signature_of_its_own_together_with_its_artifact(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "original", private)
    trusting = checked(own_store, public)
    folder = own_store.folder(TASK, "original")
    trusting.verify(TASK, "original")

    # The store's own record of an export is no proof: whoever can change the files can change the record.
    (folder / "onnx" / "model.sig").rename(tmp_path / "model.sig")
    with pytest.raises(BadSignature, match="translation/original/onnx is not signed"):
        trusting.verify(TASK, "original")
    # The artifact's own signature is of other files.
    shutil.copy(folder / "model.sig", folder / "onnx" / "model.sig")
    with pytest.raises(BadSignature, match="translation/original/onnx: the signature is not valid: it is of other"):
        trusting.verify(TASK, "original", only="onnx")
    trusting.verify(TASK, "original", only="safetensors")
    (tmp_path / "model.sig").rename(folder / "onnx" / "model.sig")
    trusting.verify(TASK, "original")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_larger_curves_sign_too(own_store: Store, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = keys(tmp_path, "large", curve)
    sign(own_store, TASK, "quantized", private)

    checked(own_store, public).verify(TASK, "quantized")


def test_the_librarys_own_command_accepts_what_is_signed_here(own_store: Store, tmp_path: Path) -> None:
    from model_signing import hashing, verifying

    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "quantized", private)
    folder = own_store.folder(TASK, "quantized")
    unlisted = [folder / name for name in ("manifest.json", "README.md", "model.sig")]

    config = verifying.Config().use_elliptic_key_verifier(public_key=public)  # type: ignore[no-untyped-call]
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=unlisted)).verify(  # type: ignore[no-untyped-call]
        folder, folder / "model.sig"
    )


def test_one_of_several_trusted_keys_suffices_and_a_folder_of_keys_is_read(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    _, stranger = keys(tmp_path, "theirs")
    folder = tmp_path / "keys"
    folder.mkdir()
    for key in (public, stranger):
        shutil.copy(key, folder)
    sign(own_store, TASK, "quantized", private)

    checked(own_store, stranger, public).verify(TASK, "quantized")
    checked(own_store, folder).verify(TASK, "quantized")
    (folder / public.name).unlink()
    with pytest.raises(BadSignature, match="not of a trusted key"):
        checked(own_store, folder).verify(TASK, "quantized")


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"mediaType": "x"}', "\x00" * 100])
def test_a_file_that_is_no_signature_is_refused(own_store: Store, tmp_path: Path, content: str) -> None:
    _, public = keys(tmp_path, "ours")
    (own_store.folder(TASK, "quantized") / "model.sig").write_text(content)

    with pytest.raises(BadSignature, match=r"model\.sig is no signature of files"):
        checked(own_store, public).verify(TASK, "quantized")


def test_a_signature_whose_list_was_changed_is_refused(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "quantized", private)
    path = own_store.folder(TASK, "quantized") / "model.sig"
    bundle = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["resources"].pop()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    path.write_text(json.dumps(bundle))

    with pytest.raises(BadSignature, match="not of a trusted key"):
        checked(own_store, public).verify(TASK, "quantized")


def test_a_list_of_artifacts_has_an_error_for_what_is_not_signed_any_more(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(own_store, TASK, "quantized", private)
    trusting = checked(own_store, public)
    before = {entry.variant: entry for entry in trusting.scan() if entry.task is TASK}
    (own_store.folder(TASK, "quantized") / "model.sig").unlink()
    after = {entry.variant: entry for entry in trusting.scan(before.values()) if entry.task is TASK}

    assert before["quantized"].error is None
    assert str(before["original"].error) == "translation/original is not signed"
    assert str(after["quantized"].error) == "translation/quantized is not signed"


def test_a_place_without_a_public_key_is_refused(tmp_path: Path) -> None:
    private, _ = keys(tmp_path, "ours")
    empty = tmp_path / "empty"
    empty.mkdir()

    for place, said in ((private, "no public elliptic"), (tmp_path / "none", "No such file"), (empty, "no key in")):
        with pytest.raises(UnusableKey, match=said):
            TrustedKeys.read([place])
