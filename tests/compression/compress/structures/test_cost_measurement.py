"""Measured costs: of every structure, within the time, and true for shapes that were not measured."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.artifacts.parent import Parent, open_parent
from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.compress.structures import cost_bench, cost_measurement
from slimseq.compression.compress.structures.cost_bench import (
    CheckedPrediction,
    check_predictions,
    random_plans,
)
from slimseq.compression.compress.structures.cost_measurement import cuts_of, measure_costs
from slimseq.compression.compress.structures.costs import Cost
from slimseq.compression.compress.structures.timed_model import Workload, cut_for_timing
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer, check_plan, whole_plan
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from tests.compression.compress.tables import whole_model
from tests.compression.tiny import EXAMPLES, tiny_import, tiny_store
from tests.families import Family
from tests.marian_students import tiny_folder

TEXTS = [example.source for example in EXAMPLES]
GREEDY = GenerationOptions()


@pytest.fixture(autouse=True)
def _few_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models need no exact times: one size of each part is measured, with as few openings as possible."""
    monkeypatch.setattr(cost_measurement, "MEASURED_SHARES", (0.5,))
    monkeypatch.setattr(cost_bench, "TIMING_SHARE", 0.0)


def opened(folder: Path, family: Family = Family.BART) -> tuple[Context, Parent]:
    context = tiny_store(folder, family)
    return context, open_parent(context, Task.TRANSLATION, "original", "smaller")


def test_cuts_change_one_kind_of_structure_and_the_most_important_come_first() -> None:
    whole = whole_model(encoder=3, decoder=2, feed_forward=64)

    cuts = cuts_of(whole)

    assert [cut.name for cut in cuts[:4]] == ["decoder layers", "encoder layers", "feed forward: 50%", "heads: 50%"]
    _, fewer_layers, narrower = (cut.plan for cut in cuts[:3])
    assert fewer_layers is not None
    assert narrower is not None
    assert [len(fewer_layers.encoder), len(fewer_layers.decoder)] == [1, 2]
    assert {layer.feed_forward for layer in (*narrower.encoder, *narrower.decoder)} == {32}
    assert sum(cut.plan is None for cut in cuts) == 1


def test_nothing_is_measured_twice_where_parts_are_tiny() -> None:
    whole = LayerPlan((PlannedLayer(0, 1, None, 2),), (PlannedLayer(0, 2, 1, 2),))

    plans = [cut.plan for cut in cuts_of(whole)]

    assert len(plans) == len(set(plans))
    assert whole not in plans


@pytest.mark.parametrize("family", [Family.BART, Family.T5])
def test_sizes_of_shapes_that_were_not_measured_are_predicted(tmp_path: Path, family: Family) -> None:
    context, parent = opened(tmp_path, family)
    workload = Workload.of(parent, TEXTS, 8, GREEDY).first(2)
    shared = ("encoder", "decoder") if family is Family.T5 else ()

    table = measure_costs(context, parent, workload, 120, TEXTS)
    plans = random_plans(whole_plan(parent.model), 2, 0, shared)
    [first, second] = check_predictions(context, parent, workload, table, plans, seconds=60)

    assert table.estimated == ()
    assert table.vocabulary is not None
    assert [first.plan, second.plan] == plans
    for row in (first, second):
        assert row.predicted == table.predict(row.plan)
        assert abs(row.bytes_error) < 0.05
        # Tiny models take their time outside of matrices, so that no more can be said on a busy machine.
        assert 0 < row.measured.seconds < 10
    assert table.predict(whole_plan(parent.model)).seconds > 0


def test_a_student_with_a_recurrent_decoder_and_a_shortlist_is_measured(tmp_path: Path) -> None:
    context = tiny_import(tmp_path, tiny_folder(tmp_path / "student", has_shortlist=True))
    parent = open_parent(context, Task.TRANSLATION, "original", "smaller")
    workload = Workload.of(parent, TEXTS, 8, GREEDY).first(2)

    table = measure_costs(context, parent, workload, 120, TEXTS)
    [row] = check_predictions(context, parent, workload, table, random_plans(whole_plan(parent.model), 1, 1), 30)

    assert table.estimated == ()
    assert "heads" not in table.stacks["decoder"].parts
    assert table.vocabulary is not None
    assert abs(row.bytes_error) < 0.05


def test_a_checked_prediction_survives_json_and_says_its_errors() -> None:
    row = CheckedPrediction(whole_model(2, 1), Cost(0.011, 9e6), Cost(0.010, 10e6))

    assert CheckedPrediction.from_record(json.loads(json.dumps(row.record()))) == row
    assert row.in_words == (
        "2 encoder and 1 decoder layers: 11.0 ms predicted, 10.0 ms measured (+10.0%); 9.00 MB predicted, 10.00 MB "
        "measured (-10.0%)"
    )


def test_without_time_costs_are_estimated_by_weights(tmp_path: Path) -> None:
    context, parent = opened(tmp_path)

    started = time.monotonic()
    table = measure_costs(context, parent, Workload.of(parent, TEXTS, 4, GREEDY), 0, TEXTS)

    # One export of the tiny model, and a text.
    assert time.monotonic() - started < 60
    assert set(table.estimated) == {
        *(f"{stack} {what}" for stack in ("encoder", "decoder") for what in ("layers", "self-attention")),
        *("encoder feed-forward", "decoder feed-forward", "decoder cross-attention"),
    }
    assert table.vocabulary is None
    whole = whole_plan(parent.model)
    without = LayerPlan(whole.encoder[:1], whole.decoder[:1])
    smaller = LayerPlan(tuple(PlannedLayer(each.layer, 1, None, 8) for each in whole.encoder), whole.decoder)
    for plan in (without, smaller):
        assert table.predict(plan).seconds < table.predict(whole).seconds
        assert table.predict(plan).bytes < table.predict(whole).bytes


def test_a_workload_has_texts_of_the_users_lengths_and_outputs_of_one_length(tmp_path: Path) -> None:
    _, parent = opened(tmp_path)
    words = [" ".join(["word"] * count) for count in range(1, 12)]

    workload = Workload.of(parent, words, output_tokens=7.4, options=GenerationOptions(num_beams=2))

    lengths = [len(row) for row in workload.rows]
    assert len(lengths) == 8
    assert lengths == sorted(set(lengths))
    assert (workload.options.min_new_tokens, workload.options.max_new_tokens) == (7, 7)
    assert workload.options.num_beams == 2
    assert not workload.options.speculates
    assert len(workload.first(1).rows) == 1


def test_costs_need_texts(tmp_path: Path) -> None:
    _, parent = opened(tmp_path)

    with pytest.raises(BadParameters, match="without texts"):
        Workload.of(parent, [], 10, GREEDY)


def test_random_plans_are_plans_of_the_model_and_differ(tmp_path: Path) -> None:
    _, parent = opened(tmp_path, Family.T5)

    plans = random_plans(whole_plan(parent.model), 10, seed=3, shared_heads=("encoder", "decoder"))

    for plan in plans:
        check_plan(parent.model, plan)
    assert len(set(plans)) > 5
    assert plans == random_plans(whole_plan(parent.model), 10, seed=3, shared_heads=("encoder", "decoder"))


def test_a_model_whose_layers_differ_is_measured_too(tmp_path: Path) -> None:
    context, parent = opened(tmp_path)
    [first, second] = whole_plan(parent.model).encoder
    plan = LayerPlan((replace(first, heads=2, feed_forward=16), second), whole_plan(parent.model).decoder)
    parent = replace(parent, model=cut_for_timing(parent.model, plan), folder=tmp_path / "varied")
    write_model(parent.model, parent.folder)
    copy_tokenizer(context.store.folder(Task.TRANSLATION, "original"), parent.folder)
    workload = Workload.of(parent, TEXTS, 4, GREEDY).first(2)

    table = measure_costs(context, parent, workload, 120)
    whole = whole_plan(parent.model)
    [row] = check_predictions(context, parent, workload, table, [replace(whole, encoder=whole.encoder[:1])], 30)

    assert whole.encoder[0].feed_forward == 16
    assert table.estimated == ()
    assert abs(row.bytes_error) < 0.05
