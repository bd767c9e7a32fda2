"""Whatever a recipe's file holds, it is read or one `BadRecipe` says what is wrong with it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from slimseq.compression.build.recipe import Recipe, read_recipe
from slimseq.compression.errors import BadRecipe
from tests.anything import altered, json_values, scalars
from tests.compression.build.test_recipe import GOOD

yaml_values = json_values | st.dictionaries(scalars, json_values, max_size=3) | st.dates() | st.binary(max_size=9)


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "any.yaml"


def read(file: Path, content: bytes) -> Recipe | None:
    file.write_bytes(content)
    recipe, said = None, ""
    try:
        recipe = read_recipe(file)
    except BadRecipe as error:
        said = str(error)
    assert "any.yaml" in said if recipe is None else set(recipe.order()) == set(recipe.variants)
    return recipe


def test_the_content_that_is_altered_is_valid(file: Path) -> None:
    assert read(file, GOOD.encode()) is not None


@given(content=yaml_values)
def test_any_yaml_is_a_recipe_or_a_clear_error(file: Path, content: object) -> None:
    read(file, yaml.safe_dump(content).encode())


@given(content=altered(yaml.safe_load(GOOD), yaml_values))
def test_a_recipe_with_any_other_value_is_read_or_a_clear_error(file: Path, content: object) -> None:
    read(file, yaml.safe_dump(content).encode())


@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=b"name: 2026-13-45")
@example(content=b"seed: 0b_")
@example(content=b"[" * 10_000)
@example(content=b"a: &a [*a]")
def test_any_text_is_a_clear_error(file: Path, content: bytes) -> None:
    assert read(file, content) is None
