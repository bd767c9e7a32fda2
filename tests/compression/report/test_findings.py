from typing import Any

from slimseq.compression.report.findings import Finding, findings_of
from slimseq.models_store.manifest import Step
from tests.evaluation.conftest import artifact_manifest


def found(**parameters: Any) -> list[Finding]:
    manifest = artifact_manifest()
    return findings_of([manifest.model_copy(update={"lineage": [Step(technique="prune", parameters=parameters)]})])


def test_a_list_of_rows_is_one_table_with_the_columns_that_are_there() -> None:
    [finding] = found(importance=[{"part": "encoder.0", "mean": 0.5}, {"part": "encoder.1", "mean": 0.25, "kept": 1}])

    assert finding.columns == ("part", "mean", "kept") and finding.title == "Importance of each part"


def test_a_mapping_of_lists_is_a_table_each() -> None:
    findings = found(importance={"channels": [{"layer": "a", "mean": 1.0}], "heads": [{"layer": "b", "mean": 2.0}]})

    assert [(each.part, each.rows) for each in findings] == [
        ("channels", ({"layer": "a", "mean": 1.0},)),
        ("heads", ({"layer": "b", "mean": 2.0},)),
    ]


def test_parameters_of_a_tried_candidate_become_columns() -> None:
    [finding] = found(tried=[{"parameters": {"heads": 2, "layers": 1}, "loss": 3.5}])

    assert finding.columns == ("heads", "layers", "loss")
    assert finding.rows == ({"heads": 2, "layers": 1, "loss": 3.5},)


def test_values_that_are_not_tables_are_left_out() -> None:
    assert found(importance="magnitude", tried=[0.5], feed_forward=64) == []
