"""`evaluate --prefix` warns of a prefix whose last space is missing."""

from pathlib import Path

import pytest

from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants
from slimseq.models_store.manifest import Task
from tests.compression.prepared_store import prepared
from tests.measured import amend

TASK = Task.TRANSLATION


@pytest.mark.parametrize(("prefix", "is_said"), [("headline:\\", True), ("headline:", True), ("headline: ", False)])
def test_a_prompt_that_a_shell_broke_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prefix: str, is_said: bool
) -> None:
    context = prepared(tmp_path)
    own = context.store.manifest(TASK, "original").generation
    amend(context.store, "original", generation=own.model_copy(update={"prefix": "translate: "}))
    options = EvaluateOptions(samples=1, prefix=prefix, generation={"max_new_tokens": 2})

    evaluate_variants(context, TASK, ["original"], options)

    said = capsys.readouterr().err
    assert ("does not end with a space" in said) == is_said
