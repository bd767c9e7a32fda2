"""A build refuses data that would make its numbers wrong before it makes anything."""

from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadData, BadRecipe
from tests.compression.build.tiny_recipe import TASK, built, recipe

RECIPE = """
name: tiny
task: translation
base: {keep: true}
data: DATA
benchmark: false
variants:
  small: {steps: [{distill: {decoder_layers: 1, max_steps: 1, learning_rate: 1.0e-9OWN}}]}
"""


def with_data(folder: Path, data: str, own: str = "") -> str:
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    held_out = (folder / "dev.jsonl").read_text().splitlines(keepends=True)
    (folder / "both.jsonl").write_text("".join(lines + held_out))
    (folder / "other.jsonl").write_text("".join(lines))
    return RECIPE.replace("DATA", data).replace("OWN", own)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{train: [both.jsonl], dev: [dev.jsonl]}", "32 of the 32 sources of dev.jsonl are in the training data"),
        ("{train: [both.jsonl], test: [test.jsonl]}", "32 of the 32 sources of test.jsonl are in the training data"),
        (
            "{train: [both.jsonl], test: [{data: test.jsonl, samples: 2}]}",
            "2 of the 2 sources of test.jsonl are in the training data",
        ),
        (
            "{train: [train.jsonl], dev: [dev.jsonl], test: [dev.jsonl]}",
            "32 of the 32 sources of the test data dev.jsonl are in the dev data dev.jsonl",
        ),
        (
            "{train: [train.jsonl], dev: [dev.jsonl], test: [test.jsonl]}",
            "32 of the 32 sources of the test data test.jsonl are in the dev data dev.jsonl",
        ),
        ("{train: [train.jsonl], unlabelled: [dev.jsonl], dev: [dev.jsonl]}", "of dev.jsonl are in the training data"),
    ],
)
def test_held_out_data_that_is_not_held_out_is_refused(context: Context, tmp_path: Path, data: str, words: str) -> None:
    described = recipe(tmp_path, text=with_data(tmp_path, data))

    with pytest.raises(BadData, match=words):
        built(context, tmp_path, described)

    assert context.store.variants(TASK) == ["original"]
    assert not (tmp_path / "build").exists()


def test_the_data_of_a_single_step_is_checked_too(context: Context, tmp_path: Path) -> None:
    data = "{train: [train.jsonl], test: [test.jsonl]}"

    with pytest.raises(BadData, match=r"of test.jsonl are in the training data"):
        built(context, tmp_path, recipe(tmp_path, text=with_data(tmp_path, data, ", train: [both.jsonl]")))
    with pytest.raises(BadRecipe, match=r"there is no file .*absent.jsonl"):
        built(context, tmp_path, recipe(tmp_path, text=with_data(tmp_path, data, ", train: [absent.jsonl]")))


def test_excluded_data_is_left_out_of_the_training(
    context: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = "{train: [more.jsonl], dev: [dev.jsonl], test: [other.jsonl], exclude: [dev.jsonl, other.jsonl]}"
    text = with_data(tmp_path, data)
    more = (tmp_path / "both.jsonl").read_text() + '{"source": "One more.", "target": "Noch einer."}\n'
    (tmp_path / "more.jsonl").write_text(more)

    result = built(context, tmp_path, recipe(tmp_path, text=text))

    assert result.built == ["small"]
    assert "Left out 52 of 53 training pairs, which are held out" in capsys.readouterr().err
    # As the command line says it.
    assert built(context, tmp_path, recipe(tmp_path, text=text)).built == []
