"""Which store a command uses where nobody names one."""

import subprocess
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.command_line import compression_in, invoked
from tests.compression.tiny import tiny_file
from tests.damage import contents

TASK = Task.TRANSLATION
OWN = f"Store: ./artifacts (default; --store {embedded_store()} has the embedded models)"
EMBEDDED = f"Store: {embedded_store()} (the embedded models; ./artifacts holds no artifact)"


def test_an_import_goes_to_the_store_of_the_current_folder_which_git_ignores(context: Context, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    model = context.store.folder(TASK, "original")

    before = compression_in(tmp_path, "list")
    imported = compression_in(tmp_path, "import", model, "--task", TASK, "--name", "mine", "--no-export")
    after = compression_in(tmp_path, "list", "--json")

    assert before.code == 0
    assert before.error == f"{EMBEDDED}\n"
    assert imported.code == 0
    assert imported.error.splitlines()[0] == OWN
    assert [each["variant"] for each in after.json] == ["mine"]
    assert after.error == f"{OWN}\n"
    ignored = subprocess.run(["git", "status", "--short", "artifacts"], cwd=tmp_path, capture_output=True, text=True)
    assert ignored.stdout == ""


def test_a_newcomer_prunes_an_embedded_model_and_finds_both_in_the_store_of_the_folder(
    embedded: Store, tmp_path: Path
) -> None:
    before = contents(embedded.root)
    words = ("prune", TASK, "original", "--name", "slim", "--data", tiny_file(tmp_path), "--max-steps", 0)

    pruned = compression_in(tmp_path, *words)

    own = Store(tmp_path / "artifacts")
    assert pruned.code == 0, pruned.error
    assert pruned.error.splitlines()[:2] == [OWN, "Copied translation/original from the embedded models"]
    assert own.variants(TASK) == ["original", "slim"]
    assert own.manifest(TASK, "original") == embedded.manifest(TASK, "original")
    assert own.manifest(TASK, "slim").parent == embedded.manifest(TASK, "original").digest
    assert contents(embedded.root) == before


def test_a_variant_is_copied_with_its_ancestors(embedded: Store, tmp_path: Path) -> None:
    copied = compression_in(tmp_path, "quantize", TASK, "pruned", "--name", "small")

    assert copied.code == 0, copied.error
    assert Store(tmp_path / "artifacts").variants(TASK) == ["original", "pruned", "small"]


def test_an_embedded_model_does_not_replace_a_variant_of_the_user(context: Context, tmp_path: Path) -> None:
    context.store.root.rename(tmp_path / "artifacts")
    before = contents(tmp_path / "artifacts")

    refused = compression_in(tmp_path, "quantize", TASK, "pruned")

    assert refused.code == 1
    assert refused.error == f"{OWN}\nerror: translation has no variant 'pruned'; it has original\n"
    assert contents(tmp_path / "artifacts") == before


def test_a_typing_error_in_an_empty_folder_names_the_embedded_variant_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIMSEQ_STORE", raising=False)

    refused = invoked("quantize", TASK, "orignal")
    exported = invoked("export", TASK, "orignal")

    last = refused.error.splitlines()[-1]
    assert refused.code == 1
    assert exported.code == 1
    assert last.startswith("error: translation has no variant 'orignal'; it has original, ")
    assert last.endswith("; did you mean 'original'?")
    # An export copies nothing.
    assert exported.error.splitlines()[-1] == (
        "error: translation has no variant 'orignal'; the store holds no translation variant; `slimseq import` or "
        "`slimseq train` makes one"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [("evaluate",), ("evaluate", "--record"), ("benchmark", "--record")])
def test_a_store_without_the_task_is_one_line(context: Context, tmp_path: Path, verb: tuple[str, ...]) -> None:
    context.store.root.rename(tmp_path / "artifacts")

    refused = compression_in(tmp_path, verb[0], Task.SUMMARIZATION, *verb[1:])

    assert refused.code == 1
    assert refused.error == (
        f"{OWN}\nerror: artifacts holds no variant for summarization; `import` or `train` makes one\n"
    )


def test_an_empty_store_is_listed_as_such_and_it_and_none_do_not_pass_verification(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    absent = compression_in(tmp_path, "verify", "--store", "typo")
    listed = compression_in(tmp_path, "list", "--store", "empty")
    verified = compression_in(tmp_path, "verify", Task.TRANSLATION, "--store", "empty")

    assert (absent.code, absent.error) == (1, "error: there is no store at typo\n")
    assert listed.code == 0
    assert listed.out == "empty holds no artifact; `import` or `train` makes one\n"
    assert verified.code == 1
    assert verified.error == "error: empty holds no artifact for translation to check\n"


@pytest.mark.parametrize(
    "words",
    [
        ("import", "absent", "--task", TASK),
        ("train", TASK, "--data", "absent.jsonl"),
        ("prune", TASK, "absent", "--data", "absent.jsonl"),
        ("distill", TASK, "absent", "--data", "absent.jsonl"),
        # The embedded parent was copied before: the copy goes too.
        ("prune", TASK, "original", "--data", "absent.jsonl"),
        ("average", TASK, "quantized"),
        ("average", TASK, "absent"),
        ("quantize", TASK, "absent"),
        ("build", "embedded-translation", "--data-folder", "absent"),
        ("export", TASK, "absent"),
        ("evaluate", TASK, "absent", "--record"),
        ("benchmark", TASK, "absent", "--record"),
        ("benchmark", TASK, "absent", "--tune"),
        ("sign", TASK, "absent", "--key", "absent.pem"),
        ("rename", TASK, "absent", "other"),
        ("remove", TASK, "absent"),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_a_command_that_is_refused_leaves_no_store_behind(
    embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIMSEQ_STORE", raising=False)

    refused = invoked(*words)

    assert refused.code == 1, refused.error
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_the_machine_does_not_have_is_one_line_before_anything_is_written(tmp_path: Path) -> None:
    words = ("prune", TASK, "original", "--data", tiny_file(tmp_path), "--max-steps", 0)

    refused = compression_in(tmp_path, *words, "--device", "cuda:99")
    misspelt = compression_in(tmp_path, *words, "--device", "gpu")

    assert refused.code == 1
    assert refused.error.startswith("error: --device cuda:99 is not usable here: ")
    assert misspelt.code == 1
    assert misspelt.error.startswith("error: --device gpu is not usable here: ")
    assert refused.error.count("\n") == 1
    assert misspelt.error.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()
