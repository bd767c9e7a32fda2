"""`slimseq remove` and `slimseq rename`: what changes in the store, and what they refuse."""

from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.prepare import prepare
from slimseq.compression.quantize.quantize import quantize
from slimseq.models_store.manifest import Reference, Task
from slimseq.models_store.signing import sign
from tests.command_line import compression
from tests.damage import contents
from tests.models_store.test_signing import checked, keys

TASK = Task.TRANSLATION


def test_removal_reports_name_and_bytes_and_keeps_the_rest(context: Context) -> None:
    quantize(context, TASK, "original")
    folder = context.store.folder(TASK, "quantized")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    kept = contents(context.store.folder(TASK, "original"))

    removed = compression("remove", TASK, "quantized", "--store", context.store.root)
    again = compression("remove", TASK, "quantized", "--store", context.store.root)

    assert removed.code == 0
    assert removed.out == f"translation/quantized: removed, {size:,} bytes\n"
    assert again.code == 1
    assert again.error == "error: translation has no variant 'quantized'; it has original\n"
    assert contents(context.store.folder(TASK, "original")) == kept
    assert [path.name for path in folder.parent.iterdir()] == ["original"]


def test_a_parent_of_others_is_removed_only_with_force(context: Context) -> None:
    quantize(context, TASK, "original")

    refused = compression("remove", TASK, "original", "--store", context.store.root)
    kept = context.store.variants(TASK)
    forced = compression("remove", TASK, "original", "--force", "--store", context.store.root)

    assert refused.code == 1
    assert kept == ["original", "quantized"]
    assert refused.error == (
        "error: made from translation/original: translation/quantized; --force removes it all the same\n"
    )
    assert forced.code == 0
    assert context.store.variants(TASK) == ["quantized"]


def test_an_artifact_with_an_unreadable_manifest_can_be_removed(context: Context) -> None:
    (context.store.folder(TASK, "original") / "manifest.json").write_text("{}")

    removed = compression("remove", TASK, "original", "--store", context.store.root)

    assert removed.code == 0
    assert context.store.variants(TASK) == []


def test_a_renamed_artifact_is_the_same_under_its_new_name_and_its_signature_holds(
    context: Context, tmp_path: Path
) -> None:
    private, public = keys(tmp_path, "ours")
    prepare(context, measure=False)
    sign(context.store, TASK, "original", private)
    before, files = context.store.manifest(TASK, "original"), contents(context.store.folder(TASK, "original"))

    renamed = compression("rename", TASK, "original", "opus", "--store", context.store.root)

    assert renamed.code == 0, renamed.error
    assert renamed.out.splitlines() == [
        "translation/original: now translation/opus",
        "model.sig still holds: it is of the files, and these are the same",
    ]
    assert context.store.variants(TASK) == ["opus", "quantized"]
    reference = Reference(variant="opus", digest=before.digest)
    assert context.store.manifest(TASK, "opus") == before.model_copy(update={"variant": "opus", "reference": reference})
    context.store.verify(TASK, "opus")
    checked(context.store, public).verify(TASK, "opus")
    after = contents(context.store.folder(TASK, "opus"))
    assert {name for name in files if after[name] != files[name]} == {"manifest.json", "README.md"}
    assert "# translation/opus" in (context.store.folder(TASK, "opus") / "README.md").read_text()
    assert compression("rename", TASK, "quantized", "opus-int8", "--store", context.store.root).code == 0
    assert context.store.manifest(TASK, "opus-int8").reference == reference


def test_a_used_or_invalid_name_is_refused_and_nothing_changes(context: Context) -> None:
    quantize(context, TASK, "original")
    before = contents(context.store.root)

    for name, said in (
        ("quantized", "error: translation/quantized exists already"),
        ("../away", "error: '../away' is not a valid name"),
        ("original", "error: translation/original exists already"),
    ):
        refused = compression("rename", TASK, "original", name, "--store", context.store.root)
        assert refused.code == 1, refused.error
        assert refused.error.startswith(said), refused.error
    unknown = compression("rename", TASK, "absent", "new", "--store", context.store.root)

    assert unknown.error == "error: translation has no variant 'absent'; it has original, quantized\n"
    assert contents(context.store.root) == before
