"""A source that is in the store already is not imported again, unless it is another model under the same name."""

from pathlib import Path

import pytest

from slimseq.compression.compress.start.source import import_source
from slimseq.compression.errors import BadParameters
from slimseq.compression.importing.importing import ImportOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_context, tiny_model_folder
from tests.families import Family

OPTIONS = ImportOptions(task=Task.TRANSLATION, languages=["en", "de"])


def test_another_model_in_a_folder_of_the_same_name_is_not_taken_for_the_first_one(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    first = tiny_model_folder(Family.T5, tmp_path / "first" / "model", seed=1)
    second = tiny_model_folder(Family.T5, tmp_path / "second" / "model", seed=2)
    checked: list[Task] = []

    imported = import_source(context, str(first), OPTIONS, checked.append)
    digest = context.store.manifest(*imported).digest
    again = import_source(context, str(first), OPTIONS, checked.append)

    assert again == imported and checked == [Task.TRANSLATION]
    with pytest.raises(BadParameters, match="translation/original exists already; give another --name"):
        import_source(context, str(second), OPTIONS, checked.append)
    assert context.store.manifest(*imported).digest == digest
