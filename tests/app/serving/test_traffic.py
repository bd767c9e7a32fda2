"""Arms of units, and ids that say what was answered."""

import string
from collections import Counter

import pytest

from slimseq.app.experiments.schemas import MAX_ID_CHARACTERS
from slimseq.app.serving.traffic import DIGEST_DIGITS, Answered, ResponseIds, Split
from slimseq.models_store.manifest import Task

DIGEST = "sha256:" + "0123456789abcdef" * 4
ANSWERED = [Answered("compact", DIGEST)]
UNRESERVED = set(string.ascii_letters + string.digits + "-._~")


@pytest.mark.parametrize("unit", ["someone@example.org", "\N{ZERO WIDTH JOINER}", "\0", "\udc80", "e\u0301" * 2000])
def test_a_unit_has_one_arm_and_its_name_is_not_kept(unit: str) -> None:
    split = Split("one", {"original": 1.0, "compact": 1.0})

    first, second, nobody = split.assign(unit), split.assign(unit), split.assign("")

    assert first == second and first.unit is not None and unit not in first.unit
    assert nobody.unit is None


@pytest.mark.parametrize("weight", [5e-324, 1e6])
def test_extreme_weights_split_the_traffic(weight: float) -> None:
    split = Split("one", {"original": weight, "compact": 1.0})

    counts = Counter(split.assign(str(unit)).arm for unit in range(100))

    assert counts == {"original" if weight > 1 else "compact": 100}


def test_a_dropped_arm_moves_its_own_units_only_and_shares_stay_in_proportion() -> None:
    units = [str(unit) for unit in range(3000)]
    before, after = Split("one", {"a": 2.0, "b": 1.0, "c": 1.0}), Split("one", {"a": 2.0, "b": 1.0})

    arms = {unit: (before.assign(unit).arm, after.assign(unit).arm) for unit in units}
    drawn = Counter(after.assign(None).arm for _ in units)

    assert all(old == new for old, new in arms.values() if old != "c")
    assert Counter(old for old, _ in arms.values())["a"] == pytest.approx(1500, abs=150)
    assert drawn["a"] == pytest.approx(2000, abs=150)
    assert Counter(new for old, new in arms.values() if old == "c")["a"] == pytest.approx(500, abs=90)


def test_an_id_says_what_was_answered_and_is_safe_in_urls_and_headers() -> None:
    ids = ResponseIds()
    variants = [Answered(f"{number}._-" + "v" * 60, DIGEST) for number in range(8)]

    response = ids.make("response", Task.TRANSLATION, ANSWERED, "experiment", "unit")
    comparison = ids.make("comparison", Task.SUMMARIZATION, variants, "e" * 16, "u" * 16)
    said, compared = ids.read("response", response, 60), ids.read("comparison", comparison, 60)

    assert said is not None and compared is not None
    assert (said.task, said.experiment, said.unit) == (Task.TRANSLATION, "experiment", "unit")
    assert said.answered == [("compact", DIGEST.removeprefix("sha256:")[:DIGEST_DIGITS])]
    assert [each.variant for each in compared.answered] == [each.variant for each in variants]
    assert len(response) < 130 and len(comparison) < MAX_ID_CHARACTERS
    assert set(response + comparison) <= UNRESERVED


def test_ids_differ_and_stay_valid_when_the_key_of_the_database_is_known() -> None:
    ids, other = ResponseIds(), ResponseIds()
    early = {ids.make("response", Task.TRANSLATION, ANSWERED) for _ in range(100)}

    ids.use_key(other.key)
    late = ids.make("response", Task.TRANSLATION, ANSWERED)

    assert len(early) == 100
    assert all(ids.read("response", each, 60) for each in (*early, late))
    assert other.read("response", late, 60) and not any(other.read("response", each, 60) for each in early)
