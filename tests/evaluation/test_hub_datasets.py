import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slimseq.evaluation.dataset_files import DatasetUnavailable, Example
from slimseq.evaluation.datasets import read_from_hub


class Hub(ModuleType):
    """Stands in for the `datasets` library, so that tests need no network."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__("datasets")
        self.config = SimpleNamespace(HF_HUB_OFFLINE=False)
        self.rows = rows
        self.asked: tuple[Any, ...] = ()

    def load_dataset(self, repository: str, configuration: str, *, split: str, streaming: bool) -> list[dict[str, Any]]:
        self.asked = (repository, configuration, split, streaming)
        return self.rows


def test_translations_of_wmt_are_read_from_english_to_german(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub([{"translation": {"de": "Guten Tag.\n", "en": "Hello."}}, {"translation": {"de": "Zwei", "en": "Two"}}])
    monkeypatch.setitem(sys.modules, "datasets", hub)

    examples = list(read_from_hub("wmt14-de-en", "dev", samples=1))

    assert examples == [Example("Hello.", "Guten Tag.")]
    assert hub.asked == ("wmt/wmt14", "de-en", "validation", True)


def test_highlights_of_articles_are_read_as_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub([{"article": "Long.", "highlights": "Short .\nShorter .", "id": "1"}])
    monkeypatch.setitem(sys.modules, "datasets", hub)

    examples = list(read_from_hub("cnn_dailymail", "test", samples=None))

    assert examples == [Example("Long.", "Short .\nShorter .")]
    assert hub.asked == ("abisee/cnn_dailymail", "3.0.0", "test", True)


def test_a_serving_install_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(DatasetUnavailable, match=r"not installed here: pip install '\.\[compress\]'"):
        list(read_from_hub("cnn_dailymail", "test", samples=1))


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the datasets library")
def test_offline_mode_of_the_real_library_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "from slimseq.evaluation.datasets import DatasetUnavailable, load_examples\n"
        "from slimseq.models_store.manifest import Task\n"
        "try:\n"
        "    load_examples(Task.TRANSLATION, 'wmt14-de-en', samples=1)\n"
        "except DatasetUnavailable as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("wmt14-de-en cannot be read from wmt/wmt14 on the Hugging Face hub: ")
    assert done.stdout.count("\n") == 1
