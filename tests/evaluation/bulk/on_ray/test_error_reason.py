"""Errors of Ray in one line."""

from slimseq.evaluation.bulk.on_ray.error_reason import reason_of


def test_the_reason_is_the_last_line_without_the_name_of_the_class() -> None:
    error = RuntimeError("Traceback (most recent call last):\n  File ...\nslimseq.errors.Lost: the model is gone\n")

    assert reason_of(error) == "the model is gone"


def test_an_error_without_a_message_has_its_class() -> None:
    assert reason_of(TimeoutError()) == "TimeoutError"
