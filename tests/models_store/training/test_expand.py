"""The phrases for the translator to Portuguese: templates become sentences, and held-out sentences are left out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAINING = Path("models_store/training")
FILES = sorted((TRAINING / "phrases").glob("*.txt"))


def expanded(out: Path, *files: Path, more: tuple[object, ...] = ()) -> list[dict[str, Any]]:
    command = [sys.executable, TRAINING / "expand.py", out, *files, "--origin", "phrases", *more]
    subprocess.run([str(part) for part in command], check=True, timeout=60)
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_templates_get_the_values_of_the_slots_above_them(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("# a heading\nname: Ana | my aunt\n{name} is here.\nname: Tom | Bo\nHello, {name}!\nGood night.\n")

    rows = expanded(tmp_path / "out.jsonl", file)

    sentences = ["Ana is here.", "My aunt is here.", "Hello, Tom!", "Hello, Bo!", "Good night."]
    assert rows == [{"source": sentence, "origin": "phrases"} for sentence in sentences]


def test_pairs_have_values_of_both_languages(tmp_path: Path) -> None:
    file = tmp_path / "some.pairs.txt"
    file.write_text("thing: milk = leite | tea = chá\nMore {thing}? = Mais {thing}?\n")

    rows = expanded(tmp_path / "out.jsonl", file)

    assert [(row["source"], row["target"]) for row in rows] == [
        ("More milk?", "Mais leite?"),
        ("More tea?", "Mais chá?"),
    ]


def test_a_template_gives_no_more_sentences_than_asked_for_and_none_that_is_held_out(tmp_path: Path) -> None:
    file, held_out = tmp_path / "some.txt", tmp_path / "held_out.txt"
    file.write_text("n: one | two | three | four\n{n} and {n}\nGood night.\n")
    held_out.write_text("good night\n")

    rows = expanded(tmp_path / "out.jsonl", file, more=("--most", 2, "--without", held_out))

    assert len(rows) == 2
    assert "Good night." not in [row["source"] for row in rows]


@pytest.mark.parametrize("line", ["Where is {place}?", "No translation."])
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "some.pairs.txt"
    file.write_text(f"{line}\n")
    command = [sys.executable, str(TRAINING / "expand.py"), str(tmp_path / "out"), str(file), "--origin", "x"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert line in done.stderr


def test_no_sentence_that_the_results_are_judged_by_is_trained_on(tmp_path: Path) -> None:
    held_out = sorted(TRAINING.glob("everyday*.txt"))
    judged_by = {line for file in held_out for line in file.read_text(encoding="utf-8").splitlines()}

    rows = expanded(tmp_path / "out.jsonl", *FILES, more=("--without", *held_out))

    assert len(rows) > 60_000
    assert len(judged_by) == 150
    assert not judged_by & {row["source"] for row in rows}
