import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.evaluation.datasets import read_from_hub


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
