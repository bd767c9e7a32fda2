"""`evaluate --prefix` warns of a prefix whose last space is missing, and outputs may have been made elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants, record_scores
from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.inference.generator import open_generator
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


def test_outputs_that_were_made_elsewhere_are_scored_and_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = prepared(tmp_path)
    data, outputs = tmp_path / "test.jsonl", tmp_path / "outputs.jsonl"
    pairs = [{"source": f"Row {place} is short.", "target": f"Zeile {place}."} for place in range(3)]
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    generation = {"num_beams": 2, "max_new_tokens": 4}
    with open_generator(context.store, TASK, "original") as generator:
        processor = RowProcessor(generator, RowSettings(options=generation, as_is=True))
        rows = processor.process([pair["source"] for pair in pairs])
    outputs.write_text("".join(json.dumps(row.fields() | {"output": "Eine Zeile."}) + "\n" for row in rows))
    options = EvaluateOptions(str(data), generation=generation, teacher_outputs=outputs)

    found = evaluate_variants(context, TASK, ["original", "quantized"], options)
    record_scores(context, found, ["original"])

    # Not what the model writes, so it did not generate.
    assert found.evaluation.variant("original").hypotheses == ("Eine Zeile.",) * 3
    assert found.evaluation.variant("quantized").hypotheses != ("Eine Zeile.",) * 3
    assert context.store.manifest(TASK, "original").quality == []
    assert "The scores of original are not recorded" in capsys.readouterr().err
    with pytest.raises(DatasetUnavailable, match=r"outputs\.jsonl lacks 3 of 3 outputs"):
        evaluate_variants(context, TASK, ["original"], replace(options, generation={"num_beams": 1}))
