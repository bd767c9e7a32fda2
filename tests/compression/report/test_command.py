"""`slimseq report`: printed tables, tables in files, and `--check`."""

import shutil
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.command_line import Finished, compression
from tests.measured import amend

BEGIN, END = "<!-- report:begin -->\n", "<!-- report:end -->\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(BEGIN + END)
    return path


def reported(store: Store, *arguments: object) -> Finished:
    return compression("report", *arguments, "--store", store.root)


def test_tables_are_printed_or_written_into_several_files(store: Store, readme: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(readme, tmp_path / "results.md"))

    printed = reported(store, "translation")
    done = reported(store, "translation", "--readme", readme, "--readme", other)

    assert (printed.code, done.code) == (0, 0), printed.error + done.error
    assert done.out.splitlines() == [f"{readme}: rewritten", f"{other}: rewritten"]
    assert printed.out.strip() == readme.read_text().removeprefix(BEGIN).removesuffix(END).strip()


def test_scores_of_another_metric_are_printed_when_it_is_named(store: Store) -> None:
    printed = reported(store, "translation", "--metric", "chrf")

    assert "| chrF |" in printed.out
    assert "| sample (test) | 99 | original | 0.3 | 63.08 [" in printed.out
    assert "37.68" not in printed.out


def test_the_check_exits_with_1_if_the_manifests_have_changed(store: Store, readme: Path) -> None:
    reported(store, "--readme", readme)
    fresh = reported(store, "--readme", readme, "--check")
    amend(store, "compact", gate=None)

    stale = reported(store, "--readme", readme, "--check")

    assert fresh.code == 0, fresh.error
    assert stale.code == 1
    assert stale.error.startswith("error: ")
    assert "translation/compact" in stale.error
    assert len(stale.error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(("--check",), "--check needs --readme"), ((), "there is no store at")]
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    done = reported(Store(tmp_path / "empty"), *arguments)

    assert done.code == 1
    assert done.error.startswith(f"error: {complaint}")
    assert len(done.error.splitlines()) == 1
