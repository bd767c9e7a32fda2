"""Models of random weights with the configurations of the hub are imported, quantized and served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import compression
from tests.families import Family
from tests.hub import running_hub
from tests.service.client import Service
from tests.service.conftest import needs_torch, running_service

# The first test waits for all models to be made, imported and quantized.
pytestmark = [needs_torch, pytest.mark.timeout(900)]
TEXT = {"text": "The cat sleeps on the warm stone.", "num_beams": 2, "min_new_tokens": 5, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    import torch

    from tests.hub_content import bart_base, t5_small, write_hub_model

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    # All layers, heads and tokens of the hub's; half the width takes a third of the time.
    for family, model in ((Family.T5, t5_small(width=256)), (Family.BART, bart_base(width=384))):
        write_hub_model(model, family, root / family, root / f"{family}-tokenizer")
    return {family: root / family for family in Family}


@pytest.fixture(scope="module")
def store(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The T5 comes from a hub, the BART from a folder; both are quantized."""
    store = tmp_path_factory.mktemp("store")
    home = tmp_path_factory.mktemp("home")
    with running_hub({"google-t5/t5-small": folders[Family.T5]}) as endpoint:
        imported = [
            compression(
                "import", "google-t5/t5-small", "--task", "summarization", "--store", store,
                HF_ENDPOINT=endpoint, HF_HOME=str(home),
            ),
            compression("import", folders[Family.BART], "--task", "translation", "--store", store),
        ]  # fmt: skip
    quantized = [compression("quantize", task, "--store", store) for task in ("summarization", "translation")]
    for done in (*imported, *quantized):
        assert done.code == 0, done.error
    return store


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", store=store) as running:
        yield running


@pytest.mark.parametrize("path", ["/summarize", "/translate"])
@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_a_fresh_model_is_served(service: Service, path: str, variant: str) -> None:
    answer = service.post(f"{path}?variant={variant}", TEXT)

    assert answer.status == 200, answer.text
    assert answer.json["variant"] == variant
    assert 5 <= answer.json["outputs"][0]["output_tokens"] <= 8
