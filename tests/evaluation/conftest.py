from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from slimseq.inference.generator import TextGenerator
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationDefaults, GenerationOptions
from slimseq.models_store.manifest import Manifest
from tests.app.serving.artifacts import manifest

WORDS = ("</s>", "<unk>", "translate:", "headline:", "good", "morning", "guten", "Morgen")


class EchoRuntime:
    """A runtime whose output is its input, so that a test can see what reached the model."""

    name = "echo"

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        self.batches.append([list(row) for row in rows])
        return [GeneratedSequence(list(row), "eos") for row in rows]

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[0.0] * len(ids) for ids in outputs]

    def close(self) -> None:
        pass


@pytest.fixture
def runtime() -> EchoRuntime:
    return EchoRuntime()


@pytest.fixture
def open_echo(tmp_path: Path) -> Callable[[EchoRuntime], TextGenerator]:
    fast = FastTokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    fast.pre_tokenizer = WhitespaceSplit()
    fast.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    fast.add_special_tokens(["</s>"])
    fast.save(str(tmp_path / "tokenizer.json"))
    configuration = ModelConfiguration(len(WORDS), 1, 0, 0, 0, None, None, max_positions=64)

    def open_with(runtime: EchoRuntime) -> TextGenerator:
        return TextGenerator(artifact_manifest(), configuration, Tokenizer(tmp_path), runtime)

    return open_with


def artifact_manifest() -> Manifest:
    return manifest(generation=GenerationDefaults(prefix="translate: "), lineage=[])
