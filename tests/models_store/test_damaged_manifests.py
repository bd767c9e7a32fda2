"""Whatever is wrong in a manifest, reading it gives a manifest or one error that names the file."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.damaged_documents import damaged

COMMITTED = ("translation", "distilled"), ("summarization", "pruned")


@cache
def documents() -> list[Any]:
    return [json.loads(embedded_store().joinpath(*name, "manifest.json").read_text()) for name in COMMITTED]


@given(st.data())
@settings(max_examples=150, deadline=None, database=None)
def test_a_damaged_manifest_is_read_or_refused_by_name(tmp_path_factory: Any, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(documents()).flatmap(damaged))
    root: Path = tmp_path_factory.mktemp("store")
    folder = root / "translation" / "distilled"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(document))
    store = Store(root)

    (entry,) = store.scan()
    found, refusal = None, ""
    try:
        found = store.manifest(Task.TRANSLATION, "distilled")
    except InvalidArtifact as error:
        refusal = str(error)

    assert entry.manifest == found
    if found is None:
        assert "distilled" in refusal and len(refusal.splitlines()) == 1
    else:
        assert Manifest.model_validate_json(found.model_dump_json()) == found
