"""The figures of a report: which speeds are compared, and where a lineage starts."""

import pytest

from slimseq.compression.errors import BadData
from slimseq.compression.report.facts import RootFacts, facts_of
from slimseq.models_store.manifest import Step, Task
from slimseq.models_store.store import Store
from tests.compression.report.conftest import performance
from tests.measured import amend


def facts(store: Store) -> RootFacts:
    [found] = facts_of(store, [Task.TRANSLATION])
    return found


def test_speed_is_compared_in_the_setting_that_most_variants_share(store: Store) -> None:
    found = facts(store)

    assert found.setting is not None
    assert found.setting.words() == "batch 1, 4 beams, 2 threads, a laptop"
    assert [variant.speed.speed_up for variant in found.variants if variant.speed] == [1.0, 4.0, 2.0]


def test_speed_on_another_machine_has_no_ratio(store: Store) -> None:
    amend(store, "compact", performance=[performance(9000, host="a server")])

    compact = facts(store).variants[1]

    assert compact.speed is None


def test_a_store_without_artifacts_for_the_task_is_refused(store: Store) -> None:
    with pytest.raises(BadData, match=r"there is nothing to report: .* has no artifacts for summarization"):
        facts_of(store, [Task.SUMMARIZATION])


def test_lineage_starts_at_the_reference_and_leaves_out_how_its_base_model_was_made(store: Store) -> None:
    amend(store, "pruned", lineage=[Step(technique="import", seed=7), Step(technique="prune")])

    lineages = [variant.lineage for variant in facts(store).variants]
    assert lineages == [("original",), ("original", "prune", "quantize"), ("original", "prune")]
