"""A recipe's file is read, or one `BadRecipe` says what is wrong with it, whatever it holds."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slimseq.compression import recipes
from slimseq.compression.build.recipe import MAX_BYTES, Recipe, read_recipe
from slimseq.compression.errors import BadRecipe
from tests.anything import altered, json_values, scalars

GOOD = """
name: small
task: translation
base: {keep: true}
data: {train: [train.jsonl], test: [{data: sample, samples: 4}]}
variants:
  both:
    from: pruned
    steps: [{quantize: {reduce_range: true}}]
  pruned:
    steps: [{prune: {feed_forward: 0.5, max_steps: 1, mixture: {weights: {news: 2}}}}]
    gate: {retention: 0.95}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_variants_are_built_after_their_parents(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD))

    assert recipe.order() == ["pruned", "both"]
    assert recipe.variants["pruned"].steps[0].options == {"feed_forward": 0.5, "max_steps": 1}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("task: translation", "task: poetry", "small.yaml: task: .*'summarization' or 'translation'"),
        ("name: small", "name: small\nspeed: 9", "small.yaml: speed: is not a known field"),
        ("from: pruned", "from: nowhere", "variants.both.from: there is no variant 'nowhere'"),
        ("steps: [{prune", "from: both\n    steps: [{prune", "variants: a cycle: .*both.*pruned"),
        ("feed_forward: 0.5", "width: 3", r"variants.pruned.steps\[0\].prune: unknown key 'width'"),
        (
            "feed_forward: 0.5",
            "plan: {encoder: [{layer: 0, heads: 4, feed_forward: .5}], decoder: [{layer: 0, feed_forward: 64}]}",
            r"pruned.steps\[0\].prune: the plan's encoder\[0\] is not a layer with its sizes",
        ),
        ("feed_forward: 0.5", "feed_forward: wide", r"pruned.steps\[0\].prune: feed_forward: .*'wide'"),
        ("quantize:", "squeeze:", r"variants.both.steps\[0\]: there is no technique 'squeeze'"),
        ("{news: 2}", "{news: -2}", r"pruned.steps\[0\].prune: the weight of news is -2"),
        ("train: [train.jsonl], ", "", r"pruned.steps\[0\].prune: no training data"),
        ("base: {keep: true}", "base: {}", "small.yaml: base: .*import.*steps.*keep"),
        ("base: {keep: true}", "base: {import: x, options: {colour: red}}", "base.options: .*colour"),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_the_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD

    with pytest.raises(BadRecipe, match=complaint) as raised:
        read_recipe(written(tmp_path, GOOD.replace(old, new)))

    assert "\n" not in str(raised.value)


def test_every_recipe_that_ships_can_be_read() -> None:
    folder = Path(read_recipe.__code__.co_filename).parents[1] / "recipes"
    names = {path.stem for path in folder.glob("*.yaml")}

    assert {"embedded-summarization", "embedded-translation"} <= names
    assert {"embedded-portuguese", "embedded-portuguese-small"} <= names
    assert {"cnn_dailymail-t5", "wmt14-bart", "firefox-en-pt"} <= names
    for path in folder.glob("*.yaml"):
        assert read_recipe(path).name == path.stem
        assert yaml.safe_load(path.read_text())["description"]


def test_every_key_of_a_recipe_says_what_it_is() -> None:
    schema = Recipe.model_json_schema(by_alias=True)
    parts = {"Recipe": schema, **schema["$defs"]}

    silent = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, described in part.get("properties", {}).items()
        if not described.get("description")
    ]

    assert silent == []


yaml_values = json_values | st.dictionaries(scalars, json_values, max_size=3) | st.dates() | st.binary(max_size=9)
# This one and those that come with Slimseq.
VALID = [
    yaml.safe_load(text)
    for text in (GOOD, *(path.read_text() for path in sorted(Path(next(iter(recipes.__path__))).glob("*.yaml"))))
]


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "any.yaml"


def read(file: Path, content: bytes) -> Recipe | str:
    """Returns the recipe, or what is said against it."""
    file.write_bytes(content)
    try:
        found: Recipe | str = read_recipe(file)
    except BadRecipe as error:
        found = str(error)
    assert "any.yaml" in found if isinstance(found, str) else set(found.order()) == set(found.variants)
    return found


@given(content=st.sampled_from(VALID).flatmap(lambda valid: altered(valid, yaml_values)))
@settings(max_examples=120)
def test_a_recipe_with_any_other_value_is_read_or_a_clear_error(file: Path, content: object) -> None:
    found = read(file, yaml.safe_dump(content).encode())
    assert isinstance(found, Recipe) or found.startswith("any.yaml")


@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=b"name: 2026-13-45")
@example(content=b"seed: 0b_")
@example(content=b"[" * 10_000)
@example(content=b"a: &a [*a]")
def test_any_text_is_a_clear_error(file: Path, content: bytes) -> None:
    assert isinstance(read(file, content), str)


def test_a_pipe_and_a_file_that_is_no_recipe_by_its_size_are_refused(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe.yaml", tmp_path / "large.yaml"
    os.mkfifo(pipe)
    large.write_bytes(b"#" * (MAX_BYTES + 1))

    with pytest.raises(BadRecipe, match=r"pipe.yaml cannot be read: .*not a regular file"):
        read_recipe(pipe)
    with pytest.raises(BadRecipe, match=r"large.yaml cannot be read"):
        read_recipe(large)
