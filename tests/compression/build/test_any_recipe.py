"""Whatever a recipe's file holds, it is read or one `BadRecipe` says what is wrong with it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slimseq.compression import recipes
from slimseq.compression.build.recipe import Recipe, read_recipe
from slimseq.compression.errors import BadRecipe
from tests.anything import altered, json_values, scalars
from tests.compression.build.test_recipe import GOOD

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
