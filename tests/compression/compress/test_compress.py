"""One command makes smaller variants, measures them, chooses one, and repeats what it did to the same bits."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimseq.cli.compress import serving_lines
from slimseq.compression.context import Context
from slimseq.models_store.fronts import read_fronts
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, invoked
from tests.compression.compress.learned import learned_store
from tests.compression.compress.pairs import written_pairs
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_store
from tests.families import Family

TASK = Task.TRANSLATION
# A random model keeps itself, whatever it writes.
BAR = "0.5"


def compress(
    context: Context, folder: Path, *words: object, source: str = "translation/learned", keep: str = BAR
) -> Finished:
    own = ("--store", context.store.root, "--folder", folder / "run", "--within", "2m", "--keep", keep)
    return invoked("compress", source, *own, *words)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learned_store(tmp_path_factory.mktemp("learned"))


def context_with(learned: Path, folder: Path) -> Context:
    """Returns a context whose store is a copy of the one with the tiny model."""
    shutil.copytree(learned, folder / "store")
    return tiny_context(folder)


@pytest.fixture(scope="module")
def finished(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Context, Finished]:
    """A run that ended."""
    folder = tmp_path_factory.mktemp("compress")
    context = context_with(learned, folder)
    data = written_pairs(folder / "train.jsonl", 400)
    return folder, context, compress(context, folder, "--data", data, "--json")


def result(finished: Finished) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(finished.out.splitlines()[-1])
    return found


def test_the_last_line_names_the_chosen_variant_and_the_front(finished: tuple[Path, Context, Finished]) -> None:
    _, context, command = finished

    found = result(command)

    assert command.code == 0
    assert found["chosen"] in context.store.variants(TASK)
    assert {"variant", "bytes", "tokens_per_second", "retention", "interval"} <= found["front"][0].keys()
    assert found["chosen"] in {each["variant"] for each in found["front"]}


def test_every_variant_of_the_front_is_published_verified_and_judged(finished: tuple[Path, Context, Finished]) -> None:
    _, context, command = finished

    for point in result(command)["front"]:
        manifest = context.store.verify(TASK, point["variant"])
        assert manifest.reference is not None and manifest.reference.variant == "learned"
        assert manifest.gate is not None
        assert (manifest.gate.status == "passed") == point["keeps"]
        assert {score.split for score in manifest.quality} == {"dev"}
        assert manifest.performance


def test_the_store_keeps_the_front_for_the_page(finished: tuple[Path, Context, Finished]) -> None:
    _, context, command = finished

    [front] = read_fronts(context.store.root, TASK)

    assert front.chosen == result(command)["chosen"]
    assert [each.variant for each in front.variants] == [each["variant"] for each in result(command)["front"]]


def test_the_recipe_repeats_the_variants_to_the_same_bits(
    learned: Path, finished: tuple[Path, Context, Finished]
) -> None:
    folder, context, command = finished
    other = context_with(learned, folder / "other")

    built = invoked(
        *("build", folder / "run" / "compress.yaml", "--build-folder", folder / "again"),
        *("--store", other.store.root, "--no-measure"),
    )

    assert built.code == 0, built.error
    for point in result(command)["front"]:
        again, first = (each.store.manifest(TASK, point["variant"]) for each in (other, context))
        assert again.digest == first.digest


def test_a_run_whose_data_is_beside_its_recipe_is_repeated_elsewhere(
    learned: Path, finished: tuple[Path, Context, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, context, command = finished
    before = tmp_path / "before"
    shutil.copytree(folder / "run", before / "run")
    shutil.copytree(context.store.root, before / "store")
    shutil.copy(folder / "train.jsonl", before / "run")
    again = compress(Context(Store(before / "store")), before, "--data", before / "run" / "train.jsonl")
    assert again.code == 0, again.error

    elsewhere = Path(shutil.move(before / "run", tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    other = context_with(learned, tmp_path / "other")
    built = invoked("build", elsewhere / "compress.yaml", "--store", other.store.root, "--no-measure")

    assert built.code == 0, built.error
    for point in result(command)["front"]:
        again_made, first = (each.store.manifest(TASK, point["variant"]) for each in (other, context))
        assert again_made.digest == first.digest


def test_the_last_lines_serve_and_try_the_chosen_variant(finished: tuple[Path, Context, Finished]) -> None:
    folder, context, command = finished
    chosen = result(command)["chosen"]

    lines = compress(context, folder, "--data", folder / "train.jsonl").out.splitlines()

    assert lines[-3].startswith("Next, serve it: ") and f"serve --store {context.store.root}" in lines[-3]
    assert f"curl -s 'http://127.0.0.1:8000/translate?variant={chosen}'" in lines[-2]
    assert lines[-1] == f"Requests for its languages that name no variant are answered by {chosen} too."


def test_a_chosen_variant_that_another_model_comes_before_is_said(finished: tuple[Path, Context, Finished]) -> None:
    folder, context, command = finished
    shutil.copytree(context.store.root, folder / "two" / "store")
    both = Context(Store(folder / "two" / "store"))
    tiny_artifact(both, Family.BART)

    [*_, last] = serving_lines(both, TASK, result(command)["chosen"], "It's late.")

    assert "are answered by original. With SLIMSEQ_DEFAULT_TRANSLATION=" in last


def test_the_figure_is_a_whole_svg(finished: tuple[Path, Context, Finished]) -> None:
    folder, _, _ = finished

    figure = (folder / "run" / "compress.svg").read_text(encoding="utf-8")

    assert figure.startswith("<svg") and figure.rstrip().endswith("</svg>")


def test_the_same_command_goes_on_and_finds_everything_done(finished: tuple[Path, Context, Finished]) -> None:
    folder, context, command = finished

    again = compress(context, folder, "--data", folder / "train.jsonl", "--json")

    assert again.code == 0, again.error
    assert result(again)["front"] == result(command)["front"]


def test_a_bar_that_int8_misses_ends_with_code_2_and_publishes_nothing(learned: Path, tmp_path: Path) -> None:
    context = context_with(learned, tmp_path)
    data = written_pairs(tmp_path / "train.jsonl", 300)
    # The scorer rates the references and the original's outputs high, and everything else at little.
    scorer = tmp_path / "scorer.py"
    scorer.write_text(
        "import json, pathlib, sys\n"
        f"calls = pathlib.Path({str(tmp_path / 'calls')!r})\n"
        "before = len(calls.read_text()) if calls.exists() else 0\n"
        "for line in sys.stdin:\n"
        "    print(1.0 if before in (0, 2) else 0.1)\n"
        "calls.write_text('x' * (before + 1))\n"
    )

    command = compress(context, tmp_path, "--data", data, "--scorer", f"python3 {scorer}", keep="0.9")

    assert command.code == 2
    assert "int8 alone keeps 10.0%" in command.error
    assert context.store.variants(TASK) == ["learned"]


def test_texts_without_targets_report_agreement(learned: Path, tmp_path: Path) -> None:
    context = context_with(learned, tmp_path)
    rows = [json.loads(line) for line in Path(written_pairs(tmp_path / "pairs.jsonl", 400)).read_text().splitlines()]
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{row['source']}\n" for row in rows))

    command = compress(context, tmp_path, "--unlabelled", texts, "--json")

    assert command.code == 0, command.error
    [front] = read_fronts(context.store.root, TASK)
    assert front.is_agreement
    assert not context.store.manifest(TASK, front.variants[0].variant).quality


def test_outputs_that_were_made_before_are_the_targets_of_all_their_texts(learned: Path, tmp_path: Path) -> None:
    context = context_with(learned, tmp_path)
    rows = [json.loads(line) for line in Path(written_pairs(tmp_path / "pairs.jsonl", 400)).read_text().splitlines()]
    texts, outputs, few = tmp_path / "texts.txt", tmp_path / "outputs.jsonl", tmp_path / "few.jsonl"
    texts.write_text("".join(f"{row['source']}\n" for row in rows))
    job = ("generate", TASK, "learned", "--as-is", "--data", texts, "--store", context.store.root)
    assert invoked(*job, "--out", outputs).code == 0
    few.write_text("".join(line + "\n" for line in outputs.read_text().splitlines()[:150]))
    given = ("--unlabelled", texts, "--teacher-outputs")

    refused = compress(context, tmp_path, *given, few)
    command = compress(context, tmp_path, *given, outputs)

    assert refused.code == 1
    assert "few.jsonl lacks 250 of 400 outputs" in refused.error
    assert command.code == 0, command.error
    assert "outputs.jsonl has learned's outputs for 400 of 400 texts" in command.error
    labelled = [json.loads(line) for line in (tmp_path / "run" / "labelled.jsonl").read_text().splitlines()]
    written = {row["text"]: row["output"] for row in map(json.loads, outputs.read_text().splitlines())}
    assert {row["source"]: row["target"] for row in labelled} == written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scorer", "no-such-program-here"), "no-such-program-here"),
        (("--scorer", "sed s/.*/1/"), "the references of other pairs 1: higher must be better"),
        (("--metric", "bleurt"), "has bleu, chrf, chrf++"),
        (("--metric", "bleu", "--scorer", "cat"), "takes the place of --metric"),
        ((), "give pairs with --data"),
        (("--teacher-outputs", "outputs.jsonl"), "give texts with --unlabelled too"),
    ],
)
def test_bad_options_are_one_line_and_make_nothing(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    context = tiny_store(tmp_path)
    data = () if not words else ("--data", written_pairs(tmp_path / "train.jsonl", 300))

    command = compress(context, tmp_path, *data, *words, source="translation/original")

    assert command.code == 1
    assert message in command.error
    assert command.error.startswith("error: ") or "\nerror: " in command.error
    assert context.store.variants(TASK) == ["original"]
    assert not (tmp_path / "run" / "build").exists()


@pytest.mark.parametrize(("keep", "within", "message"), [("1.2", "2m", "no share"), ("0.9", "10", "no duration")])
def test_a_bar_or_a_time_that_makes_no_sense_is_refused(tmp_path: Path, keep: str, within: str, message: str) -> None:
    context = tiny_store(tmp_path)

    command = invoked(
        *("compress", "translation/original", "--data", tmp_path, "--keep", keep, "--within", within),
        *("--store", context.store.root),
    )

    assert command.code == 1
    assert message in command.error


def test_a_variant_that_was_made_from_another_is_refused_by_name(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    assert invoked("quantize", "translation", "original", "--store", context.store.root).code == 0
    data = written_pairs(tmp_path / "train.jsonl", 300)

    command = compress(context, tmp_path, "--data", data, source="translation/quantized")

    assert command.code == 1
    assert "translation/quantized was made from original" in command.error


def test_a_task_is_needed_for_a_model_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = tmp_path / "model"
    folder.mkdir()
    data = written_pairs(tmp_path / "train.jsonl", 300)

    command = invoked("compress", folder, "--data", data, "--store", store.root)

    assert command.code == 1
    assert "give --task" in command.error


def test_the_recipe_is_plain_yaml_with_a_gate(finished: tuple[Path, Context, Finished]) -> None:
    folder, _, command = finished

    recipe = yaml.safe_load((folder / "run" / "compress.yaml").read_text(encoding="utf-8"))

    chosen = recipe["variants"][result(command)["chosen"]]
    assert chosen["gate"] == {"retention": float(BAR), "metric": "chrf"}
    assert recipe["base"]["digest"].startswith("sha256:")
