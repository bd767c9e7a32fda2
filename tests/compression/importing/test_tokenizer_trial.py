"""A tokenizer that is imported is tried in a process with limits, and what ends it is one line."""

import json
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from slimseq.compression.importing import tokenizer_trial
from slimseq.compression.importing.tokenizer_trial import main, make_fast_tokenizer, try_on_samples
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource
from tests.compression.tiny import tiny_tokenizer
from tests.families import Family


@pytest.fixture(params=list(Family))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_tokenizer(request.param, tmp_path / "model")


def test_a_tokenizer_of_a_known_family_passes_unchanged(folder: Path, tmp_path: Path) -> None:
    made = make_fast_tokenizer(folder, tmp_path / "scratch")

    assert (made / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert Tokenizer(made).encode("Good morning.", 64) == Tokenizer(folder).encode("Good morning.", 64)


def test_lengths_of_a_tokenizer_are_left_to_its_reader(folder: Path, tmp_path: Path) -> None:
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    padding = {"strategy": {"Fixed": 2_000_000_000}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    whole["padding"] = padding | {"pad_type_id": 0, "pad_token": "<pad>"}
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")

    made = make_fast_tokenizer(folder, tmp_path / "scratch")

    assert json.loads((made / "tokenizer.json").read_text(encoding="utf-8"))["padding"] is None


def test_a_tokenizer_that_takes_too_long_is_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_trial, "TRIAL_SECONDS", 0.05)
    started = time.monotonic()

    with pytest.raises(BadSource, match=r"model: its tokenizer did not split samples within 0.05 s"):
        make_fast_tokenizer(folder, tmp_path / "scratch")

    assert time.monotonic() - started < 10


def test_a_tokenizer_that_ends_its_process_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -KILL $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(
        BadSource, match=f"model has no tokenizer that can be used: it ended with code -{signal.SIGKILL}"
    ):
        make_fast_tokenizer(folder, tmp_path / "scratch")


class Failing:
    """A tokenizer that works for short texts."""

    vocabulary: ClassVar[dict[str, int]] = {}

    def __init__(self, seconds: float = 0, tokens: int = 1) -> None:
        self.seconds, self.tokens = seconds, tokens

    def encode(self, text: str, _: int) -> Any:
        if len(text) > 1000:
            end = time.process_time() + self.seconds
            while time.process_time() < end:
                pass
        return SimpleNamespace(ids=[0] * self.tokens * len(text))

    def decode(self, _: list[int]) -> str:
        return ""


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        (Failing(seconds=0.3), "it takes more than 0.2 s to split 20,002 characters"),
        (Failing(tokens=20), r"it makes 1,\d+ tokens of \d+ characters \('The library"),
    ],
)
def test_a_sample_that_takes_too_long_or_grows_is_named(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any, said: str
) -> None:
    monkeypatch.setattr(tokenizer_trial, "SAMPLE_SECONDS", 0.2)

    with pytest.raises(BadSource, match=said):
        try_on_samples(tokenizer)


def test_a_slow_expression_of_a_known_family_is_replaced(tmp_path: Path) -> None:
    folder = tiny_tokenizer(Family.T5, tmp_path / "model")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    slow = {"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""}
    tokenizer["normalizer"]["normalizers"].append(slow)
    path.write_text(json.dumps(tokenizer))

    main(folder, folder)

    assert json.loads(path.read_text())["normalizer"]["normalizers"][-1]["pattern"] == {"Regex": r"\A +|(?<! ) +\z"}
