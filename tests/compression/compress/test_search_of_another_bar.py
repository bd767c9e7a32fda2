"""Which search a command with another bar takes in the folder of a run: one of those that were measured."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.decoding.decoding_rows import DecodingRow
from slimseq.compression.compress.decoding.decoding_search import choose_decoding
from slimseq.compression.compress.find_candidates import find_search, search_of_shapes, with_search
from slimseq.compression.compress.run_folder import RunFolder

OWN = DecodingRow("own", "4 beams", {}, 4, False, 1.0)
TWO = DecodingRow("beams2", "2 beams", {"num_beams": 2}, 2, False, 1.0, 0.0, 1.5, 100, 0.998, (0.99, 1.0))
GREEDY = DecodingRow("greedy", "greedy", {"num_beams": 1}, 1, False, 1.0, 0.0, 2.0, 100, 0.98, (0.97, 0.99))
INT8 = Candidate("quantized", "int8", ({"quantize": {"scheme": "int8-dynamic"}},))


def run_with(folder: RunFolder, keep: float) -> Any:
    """A run whose folder has measured settings. Nothing is measured again: there is no model."""
    return SimpleNamespace(folder=folder, options=SimpleNamespace(keep=keep))


def test_another_bar_chooses_among_the_settings_that_were_measured(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    # A quarter of what the bar allows to lose.
    record = choose_decoding([OWN, TWO, GREEDY], "chrf", 0.25 * (1 - 0.9)).record()

    with folder.opened():
        folder.find_or_make("decoding", lambda: record)
        first = find_search(run_with(folder, 0.9), INT8)
        shapes = search_of_shapes(run_with(folder, 0.9), first)
        higher = find_search(run_with(folder, 0.98), INT8)
        shapes_then = search_of_shapes(run_with(folder, 0.98), higher)
        highest = find_search(run_with(folder, 0.999), INT8)

    assert [first.name, higher.name, highest.name] == ["greedy", "beams2", "own"]
    assert shapes.name == shapes_then.name == "greedy"
    assert "2 beams instead of 4 beams" in higher.in_words


def test_a_candidate_gets_a_search_in_place_of_the_one_that_it_has() -> None:
    [greedy] = with_search([INT8], GREEDY)
    [two] = with_search([greedy], TWO)
    [own] = with_search([greedy], OWN)

    assert two.steps == (*INT8.steps, {"decode": {"num_beams": 2}})
    assert own.steps == INT8.steps
    assert (two.name, own.name) == ("quantized-greedy-beams2", "quantized-greedy-own")
