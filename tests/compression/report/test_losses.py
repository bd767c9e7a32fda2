import json
from pathlib import Path

import pytest

from slimseq.compression.errors import BadData
from slimseq.compression.report.losses import read_loss_curves, smoothed, thinned


def log(folder: Path, *lines: object) -> None:
    folder.mkdir(parents=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "losses.jsonl").write_text(text)


def test_logs_are_titled_by_their_folders(tmp_path: Path) -> None:
    log(tmp_path / "b" / "pruned", {"step": 1, "loss": 4.5})
    log(tmp_path / "a", {"step": 1, "loss": 5.5}, {"step": 2, "loss": 5.0})

    curves = read_loss_curves(tmp_path)

    assert [curve.title for curve in curves] == ["a", "b/pruned"]
    assert curves[0].steps == (1, 2) and curves[0].series == {"loss": (5.5, 5.0)}


def test_parts_of_the_loss_are_series_of_their_own(tmp_path: Path) -> None:
    log(tmp_path / "a", *({"step": step, "loss": 3, "parts": {"labels": 2, "teacher": 1}} for step in (1, 2)))

    [curve] = read_loss_curves(tmp_path)

    assert curve.series == {"loss": (3, 3), "labels": (2, 2), "teacher": (1, 1)}


def test_a_last_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    log(tmp_path / "a", {"step": 1, "loss": 5.5}, '{"step": 2, "lo')

    assert read_loss_curves(tmp_path)[0].steps == (1,)


def test_any_other_broken_line_is_named(tmp_path: Path) -> None:
    log(tmp_path / "a", {"step": 1, "loss": 5.5}, {"step": 2}, {"step": 3, "loss": 5})

    with pytest.raises(BadData, match=r"losses\.jsonl: line 2 is not a JSON object with step and loss"):
        read_loss_curves(tmp_path)


def test_smoothing_keeps_a_constant_and_halves_an_alternation() -> None:
    alternating = [1.0, 3.0] * 1000

    assert smoothed([2.0] * 300) == pytest.approx([2.0] * 300)
    assert smoothed(alternating)[0] == 1.0
    assert smoothed(alternating)[-1] == pytest.approx(2.0, abs=0.1)


def test_thinning_keeps_the_last_value_and_at_most_a_thousand() -> None:
    kept = thinned(range(2501))

    assert kept[-1] == 2500 and len(kept) <= 1000 and kept[1] - kept[0] == 3
    assert thinned([1.0, 2.0]) == [1.0, 2.0]
