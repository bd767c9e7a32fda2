"""Whatever is wrong in a recipe, reading it gives a recipe or one error that names the file."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slimseq.compression import recipes
from slimseq.compression.build.recipe import Recipe, read_recipe
from slimseq.compression.errors import BadRecipe
from tests.damaged_documents import damaged


@cache
def documents() -> list[Any]:
    (folder,) = map(Path, recipes.__path__)
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]


@given(st.data())
@settings(max_examples=150, deadline=None, database=None)
def test_a_damaged_recipe_is_read_or_refused_by_name(tmp_path_factory: Any, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(documents()).flatmap(damaged))
    path: Path = tmp_path_factory.mktemp("recipe") / "mine.yaml"
    path.write_text(yaml.safe_dump(document))

    found: Recipe | None = None
    refusal = ""
    try:
        found = read_recipe(path)
    except BadRecipe as error:
        refusal = str(error)

    if found is None:
        assert refusal.startswith("mine.yaml")
    else:
        assert set(found.order()) == set(found.variants)
