"""What measures a model did not train it: dev data in the training data, test data that is dev data, too few pairs."""

import json
import tracemalloc
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.held_out import MIN_PAIRS, are_among, check_enough, check_held_out, hashes_of
from slimseq.models_store.manifest import Task
from tests.command_line import Finished, invoked
from tests.compression.tiny import HELD_OUT, SENTENCES, tiny_context, tiny_dev, tiny_file

TASK = Task.TRANSLATION


def written(path: Path, pairs: list[tuple[str, ...]]) -> str:
    lines = (json.dumps({"source": source, "target": target}) for source, target in pairs)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def run(context: Context, *words: object) -> Finished:
    return invoked(*words, "--store", context.store.root)


def test_texts_are_the_same_whatever_their_case_and_white_space() -> None:
    known = hashes_of(["The cat sleeps on the STRASSE.", "It rained."])

    found = are_among(["the  cat\tsleeps on the straße. ", "It rains.", "\u00a0It rained."], known)

    assert found.tolist() == [True, False, True]


def test_a_million_texts_take_a_few_bytes_each() -> None:
    tracemalloc.start()
    known = hashes_of(f"Sentence {number} of many that are as long as sentences are." for number in range(100_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(known) == 100_000
    # Two arrays of eight bytes a text, and room to sort them; the texts alone would be 10 MB.
    assert most < 100_000 * 40


def test_a_few_texts_that_occur_twice_are_a_warning_and_more_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, sources = tiny_context(tmp_path), [f"Sentence {number}." for number in range(200)]

    check_held_out(context, "a/dev.jsonl", sources, hashes_of(sources[:2]))

    said = capsys.readouterr().err
    assert said.startswith(
        "Warning: 2 of the 200 sources of dev.jsonl are in the training data, such as 'Sentence 0.'; "
    )
    with pytest.raises(
        BadData, match=r"^3 of the 200 .* --exclude a/dev.jsonl \(in a recipe `exclude`\) leaves them out"
    ):
        check_held_out(context, "a/dev.jsonl", sources, hashes_of(sources[:3]))


def test_too_few_pairs_say_how_many_are_needed() -> None:
    check_enough("dev.jsonl", MIN_PAIRS, "to choose")

    with pytest.raises(BadData, match=r"^dev.jsonl: 29 pairs are too few to choose: with fewer than 30 pairs, chance"):
        check_enough("a/dev.jsonl", MIN_PAIRS - 1, "to choose")


@pytest.mark.parametrize("verb", ["prune", "distill", "train"])
def test_dev_data_of_the_training_file_is_refused_and_can_be_left_out(
    context: Context, tmp_path: Path, verb: str
) -> None:
    start = ("--from", "original") if verb == "train" else ("original",)
    both = written(tmp_path / "both.jsonl", [*SENTENCES, *HELD_OUT])
    dev = tiny_dev(tmp_path)
    words = (verb, TASK, *start, "--name", "made", "--data", both, "--dev", dev, "--max-steps", 1)

    refused = run(context, *words)
    names = context.store.variants(TASK)
    made = run(context, *words, "--exclude", dev, "--learning-rate", 1e-9)

    assert refused.code == 1
    assert names == ["original"]
    assert refused.error.startswith(f"error: {len(HELD_OUT)} of the {len(HELD_OUT)} sources of dev.jsonl are in the")
    assert f"--exclude {dev} " in refused.error
    assert refused.error.count("\n") == 1
    assert (
        f"Left out {len(HELD_OUT)} of {len(SENTENCES) + len(HELD_OUT)} training pairs, which are held out" in made.error
    )
    assert "made" in context.store.variants(TASK)


def test_a_variant_is_not_evaluated_on_what_it_was_trained_on(context: Context, tmp_path: Path) -> None:
    data, dev, test = tiny_file(tmp_path), tiny_dev(tmp_path), written(tmp_path / "test.jsonl", [("One.", "Eins.")])
    run(context, "distill", TASK, "original", "--name", "small", "--data", data, "--dev", dev, "--max-steps", 1)
    run(context, "quantize", TASK, "small", "--name", "int8")

    refused = run(context, "evaluate", TASK, "int8", "--data", data)
    warned = run(context, "evaluate", TASK, "int8", "--data", dev)
    tested = run(context, "evaluate", TASK, "int8", "--data", test)

    assert refused.code == 1
    assert "translation/int8 was trained on train.jsonl (distill): a score on it says nothing" in refused.error
    assert warned.code == 0
    assert "dev.jsonl was the dev data of translation/int8 (distill)" in warned.error
    assert tested.code == 0
    assert "Warning" not in tested.error
    # Hashes of files are for machines.
    card = (context.store.folder(TASK, "small") / "README.md").read_text()
    assert "data=['train.jsonl']" in card
    assert "files" not in card.split("## Lineage")[1]


def test_scores_of_few_pairs_are_shown_and_not_recorded(context: Context, tmp_path: Path) -> None:
    words = ("evaluate", TASK, "original", "--data", tiny_dev(tmp_path), "--samples", 2)

    shown, refused = run(context, *words), run(context, *words, "--record")

    assert shown.code == 0
    assert "too few to compare" in shown.out
    assert refused.code == 1
    assert refused.out == ""
    assert "dev: 2 pairs are too few to record a score: with fewer than 30 pairs" in refused.error
    assert context.store.manifest(TASK, "original").quality == []
