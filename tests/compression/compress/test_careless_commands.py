"""Commands that a careless or hostile user gives: one clear line before any work, and nothing is half made."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task
from tests.command_line import Finished, invoked
from tests.compression.compress.pairs import pairs, written_pairs
from tests.compression.tiny import tiny_context, tiny_model_folder, tiny_store
from tests.families import Family

TASK = Task.TRANSLATION
Pairs = list[tuple[str, str]]


def compress(context: Context, folder: Path, *words: object, within: str = "2m", source: str = "") -> Finished:
    own = ("--store", context.store.root, "--folder", folder / "run", "--within", within)
    return invoked("compress", source or "translation/original", *own, *words)


def written(path: Path, rows: Pairs) -> Path:
    lines = (json.dumps({"source": source, "target": target}) for source, target in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def assert_refused(command: Finished, context: Context, message: str) -> None:
    """One line says why, nothing was published, and no findings are left for another command."""
    last = command.error.splitlines()[-1]
    assert command.code == 1, command
    assert last.startswith("error: "), command.error
    assert message in last
    assert "Traceback" not in command.error
    assert context.store.variants(TASK) == ["original"]
    assert not (context.store.root.parent / "run" / "findings.json").exists()


def one_source(rows: Pairs) -> Pairs:
    return [(rows[0][0], target) for _, target in rows]


def empty_targets(rows: Pairs) -> Pairs:
    return [(source, "") for source, _ in rows]


def one_template(rows: Pairs) -> Pairs:
    return [(f"Flight {place} to Berlin leaves at nine from gate 3.", target) for place, (_, target) in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_source, "--data has 1 different pairs; compress needs at least 200"),
        (empty_targets, "line 1 of train.jsonl: `target` is empty"),
        (one_template, "near duplicate"),
    ],
)
def test_data_to_which_nothing_can_be_held_out_is_refused(
    change: Callable[[Pairs], Pairs], message: str, tmp_path: Path
) -> None:
    context = tiny_store(tmp_path)
    data = written(tmp_path / "train.jsonl", change(pairs(300)))

    assert_refused(compress(context, tmp_path, "--data", data), context, message)


def test_a_gz_file_that_is_none_is_refused(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    data = tmp_path / "train.jsonl.gz"
    shutil.copy(written_pairs(tmp_path / "train.jsonl", 300), data)

    assert_refused(compress(context, tmp_path, "--data", data), context, "train.jsonl.gz")


@pytest.mark.parametrize("role", ["--dev", "--test"])
def test_held_out_pairs_under_another_name_are_found_in_the_training_data(role: str, tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    data = written_pairs(tmp_path / "train.jsonl", 300)
    with gzip.open(tmp_path / "other.jsonl.gz", "wb") as packed:
        packed.write(Path(data).read_bytes())

    command = compress(context, tmp_path, "--data", data, role, tmp_path / "other.jsonl.gz")

    assert_refused(command, context, "are in the training data")


def test_test_pairs_that_are_dev_pairs_are_refused_before_any_work(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    rows = pairs(500)
    data, dev = written(tmp_path / "train.jsonl", rows[:300]), written(tmp_path / "dev.jsonl", rows[300:])

    command = compress(
        context, tmp_path, "--data", data, "--dev", dev, "--test", shutil.copy(dev, tmp_path / "t.jsonl")
    )

    assert_refused(command, context, "are in the dev data")
    assert not (tmp_path / "run" / "build" / "steps" / "translation" / "quantized").exists()


def test_dev_pairs_that_are_nearly_training_pairs_are_a_warning(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    rows = pairs(300)
    data = written(tmp_path / "train.jsonl", rows)
    dev = written(tmp_path / "dev.jsonl", [(f"{source} Really", target) for source, target in rows[:150]])

    # The random model scores nothing, and the command ends with that.
    command = compress(context, tmp_path, "--data", data, "--dev", dev)

    assert "150 of the 150 sources of --dev have a near duplicate in --data" in command.error


def test_too_few_test_pairs_are_refused_before_any_work(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    rows = pairs(320)
    data, test = written(tmp_path / "train.jsonl", rows[:300]), written(tmp_path / "test.jsonl", rows[300:])

    command = compress(context, tmp_path, "--data", data, "--test", test)

    assert_refused(command, context, "20 pairs are too few to record a score")
    assert not (tmp_path / "run" / "build").exists()


def test_bad_data_is_refused_before_a_model_is_imported(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    rows = pairs(360)
    data, few = written(tmp_path / "train.jsonl", rows[:300]), written(tmp_path / "few.jsonl", rows[:150])
    model = tiny_model_folder(Family.BART, tmp_path / "model")
    named = (
        "--task",
        "translation",
        "--language",
        "en",
        "--language",
        "de",
        "--test",
        written(tmp_path / "t.jsonl", rows[:60]),
    )

    too_few = compress(context, tmp_path, "--data", few, *named, source=str(model))
    not_apart = compress(context, tmp_path, "--data", data, *named, source=str(model))
    no_texts = compress(context, tmp_path, "--unlabelled", few, *named, source=str(model))

    assert "--data has 150 different pairs" in too_few.error.splitlines()[-1]
    assert "of t.jsonl are in the training data" in not_apart.error.splitlines()[-1]
    assert "compress needs at least 200" in no_texts.error.splitlines()[-1]
    assert not context.store.root.exists()


@pytest.mark.parametrize("name", ["a/b", "../../up", "Upper", "a b", ".", "x" * 70])
def test_a_name_that_no_variant_can_have_is_refused(name: str, tmp_path: Path) -> None:
    context = tiny_store(tmp_path)

    command = compress(context, tmp_path, "--data", written_pairs(tmp_path / "train.jsonl", 300), "--name", name)

    assert_refused(command, context, "name")
    assert not (tmp_path / "run" / "build").exists()


def test_a_name_that_is_too_long_with_its_ending_is_refused_before_any_work(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)

    command = compress(context, tmp_path, "--data", written_pairs(tmp_path / "train.jsonl", 300), "--name", "x" * 60)

    assert_refused(command, context, "is not a valid name")


@pytest.mark.parametrize("taken", ["quantized", "shape2", "shape4-uniform"])
def test_a_variant_of_a_name_to_come_is_refused_before_any_work(taken: str, tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    words = ("quantize", "translation", "original", "--name", taken, "--store", context.store.root)
    assert invoked(*words, "--scheme", "bf16").code == 0
    before = context.store.manifest(TASK, taken).digest

    command = compress(context, tmp_path, "--data", written_pairs(tmp_path / "train.jsonl", 300))

    assert command.code == 1
    assert f"translation/{taken} exists already; give another --name, or --force" in command.error.splitlines()[-1]
    assert context.store.manifest(TASK, taken).digest == before


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    (tmp_path / "run").write_text("mine")

    command = compress(context, tmp_path, "--data", written_pairs(tmp_path / "train.jsonl", 300))

    assert_refused(command, context, str(tmp_path / "run"))
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(600)", "took longer than 15 s"),
        ("import sys\nfor line in sys.stdin: print('nan')", "'nan' is no finite number"),
        ("import sys\nfor line in sys.stdin: print(1)", "higher must be better"),
        ("print(1)", "wrote 1 lines"),
        ("raise SystemExit('no model')", "no model"),
    ],
)
def test_a_scorer_that_does_not_work_is_refused_before_any_work(program: str, message: str, tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    scorer = tmp_path / "scorer.py"
    scorer.write_text(program)
    data = written_pairs(tmp_path / "train.jsonl", 300)

    command = compress(context, tmp_path, "--data", data, "--scorer", f"python3 {scorer}", within="60s")

    assert_refused(command, context, message)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        (("--metric", "bleu"), "--metric (chrf there, bleu now)"),
        (("--seed", "5"), "--seed (0 there, 5 now)"),
        (("--aim", "smallest"), "--aim (fastest there, smallest now)"),
        (("--data", "more.jsonl"), "--data"),
    ],
)
def test_the_folder_of_another_command_is_refused_and_stays(
    changed: tuple[str, str], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    context = tiny_store(tmp_path)
    written_pairs(tmp_path / "train.jsonl", 300)
    written_pairs(tmp_path / "more.jsonl", 310)
    options = {"--data": "train.jsonl", "--keep": "0.5"}
    # A run that was interrupted after its start.
    monkeypatch.setattr("slimseq.compression.compress.compress.check_bar", _interrupt)
    first = compress(context, tmp_path, *(word for option in options.items() for word in option))
    before = (tmp_path / "run" / "findings.json").read_text()

    options |= dict([changed])
    command = compress(context, tmp_path, *(word for option in options.items() for word in option))

    last = command.error.splitlines()[-1]
    assert first.code == 130
    assert command.code == 1
    assert f"has the run of another command, which differs in {shown}; name another --folder" in last
    assert (tmp_path / "run" / "findings.json").read_text() == before


def _interrupt(*_: object) -> None:
    raise SystemExit(130)
