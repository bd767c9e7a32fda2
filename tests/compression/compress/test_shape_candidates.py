"""Which shapes go on after their first stage, and for how many steps."""

import math

import pytest

from slimseq.compression.compress.shape_candidates import (
    ShapeCandidates,
    decided_steps,
    least_of_each_target,
    steps_in_all,
    target_between,
)
from slimseq.compression.compress.shape_finder import Shape
from slimseq.compression.compress.staged_training import DECAY_FRACTION, MIN_STEPS, Stage
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer
from slimseq.models_store.measurements import Performance

PLAN = LayerPlan((PlannedLayer(0, 4, None, 64),), (PlannedLayer(1, 2, 4, 32),))


def shape(name: str, target: float, is_uniform: bool = False) -> Shape:
    return Shape(name, PLAN, target, is_uniform, seconds=0.01, divergence=0.5)


def speed(tokens_per_second: float) -> Performance:
    return Performance(
        host="here",
        threads=1,
        runtime="onnxruntime",
        batch=1,
        input_tokens=10,
        output_tokens=10,
        p50_ms=1,
        p95_ms=1,
        p99_ms=1,
        tokens_per_second=tokens_per_second,
        resident_bytes=1,
    )


def test_a_shape_is_the_same_after_json() -> None:
    one = shape("x2", 2.0)

    assert Shape.from_record(one.record()) == one


def test_of_each_target_the_shape_with_the_least_loss_goes_on_and_the_slowest_target_comes_first() -> None:
    shapes = [shape("x3", 3.0), shape("x3-uniform", 3.0, True), shape("x2", 2.0), shape("x2-uniform", 2.0, True)]

    found = least_of_each_target(shapes, {"x3": 2.0, "x3-uniform": 2.5, "x2": 1.9, "x2-uniform": 1.8})

    assert [each.name for each in found] == ["x2-uniform", "x3"]


def test_a_training_gets_the_steps_that_its_time_allows() -> None:
    stage = Stage(steps=100, seconds=50, dev_loss=1.0)

    assert steps_in_all(stage, seconds=400) == 900


def test_the_first_stage_never_reaches_into_the_fall_of_the_learning_rate() -> None:
    stage = Stage(steps=1000, seconds=50, dev_loss=1.0)

    found = steps_in_all(stage, seconds=0)

    assert found == math.ceil(1000 / (1 - DECAY_FRACTION))
    assert found * (1 - DECAY_FRACTION) >= 1000


def test_a_short_training_has_the_steps_of_a_whole_warm_up() -> None:
    assert steps_in_all(Stage(steps=10, seconds=10, dev_loss=1.0), seconds=1) == MIN_STEPS


def test_predicted_speeds_stand_beside_measured_ones() -> None:
    found = ShapeCandidates([], [], predicted={"x2": 2.0, "x9": 9.0}, whole="quantized")

    words = found.predictions({"quantized": speed(100), "x2": speed(210)})

    assert words == ["Predicted and measured times the speed of quantized: x2 2.00 and 2.10."]


def test_nothing_is_said_of_predictions_that_cannot_be_compared() -> None:
    assert ShapeCandidates([], []).predictions({}) == []


def test_a_time_too_short_for_all_trainings_goes_to_fewer_of_them() -> None:
    stage = Stage(steps=10, seconds=10, dev_loss=1.0)

    alone = decided_steps(stage, 250, 1)
    among_four = decided_steps(stage, 250, 4)

    assert alone == 260
    assert among_four == 260


def test_a_time_too_short_for_one_training_makes_none() -> None:
    assert decided_steps(Stage(steps=10, seconds=100, dev_loss=1.0), 250, 4) == 0


def test_trainings_share_the_time_where_it_is_enough_for_all() -> None:
    assert decided_steps(Stage(steps=100, seconds=10, dev_loss=1.0), 400, 4) == 1100


def test_the_next_speed_is_halfway_between_the_fastest_that_keeps_the_bar_and_the_slowest_that_misses_it() -> None:
    keeps_bar = {1.21: True, 1.44: False, 1.8: False}

    assert target_between(keeps_bar) == pytest.approx(math.sqrt(1.21 * 1.44), abs=1e-3)


def test_where_the_slowest_speed_misses_the_bar_the_next_one_is_nearer_to_the_whole_model() -> None:
    assert target_between({1.21: False}) == pytest.approx(1.1)


def test_a_slower_speed_that_missed_the_bar_does_not_count_when_a_faster_one_keeps_it() -> None:
    assert target_between({1.1: False, 1.21: True, 1.44: False}) == pytest.approx(1.32)


@pytest.mark.parametrize("keeps_bar", [{}, {1.2: True}, {1.2: True, 1.22: False}])
def test_no_speed_is_next_where_none_misses_the_bar_or_the_two_are_too_near(keeps_bar: dict[float, bool]) -> None:
    assert target_between(keeps_bar) is None
