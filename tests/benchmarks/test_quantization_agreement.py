import json
from pathlib import Path

import pytest

from benchmarks.quantization_agreement import FLOAT, WAYS, kept, main
from slimseq.models_store.manifest import Family, Task
from tests.compression.tiny import EXAMPLES, tiny_artifact, tiny_context


@pytest.mark.parametrize("family", list(Family))
def test_every_way_of_rounding_generates_and_the_float_model_agrees_with_itself(family: Family, tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, family, tmp_path)

    found = kept(context.store, Task.TRANSLATION, "original", EXAMPLES[:4], repeats=1)

    assert [each.way for each in found] == [FLOAT, *WAYS]
    assert found[0].same == 1.0
    assert all(each.seconds > 0 for each in found)
    assert context.store.variants(Task.TRANSLATION) == ["original"]


def test_the_table_names_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    main(["translation", "--samples", "3", "--repeats", "1", "--store", str(context.store.root)])

    printed = capsys.readouterr().out
    assert "sample (test), 3 samples, greedy" in printed
    assert "float32" in printed


def test_examples_of_one_collection_are_taken_wherever_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)
    data = tmp_path / "mixed.jsonl"
    pairs = [{"source": example.source, "target": example.target} for example in EXAMPLES[:4]]
    data.write_text(
        "".join(json.dumps(pair | {"origin": "ab"[number % 2]}) + "\n" for number, pair in enumerate(pairs))
    )
    asked = ["translation", "--data", str(data), "--repeats", "1", "--store", str(context.store.root)]

    main([*asked, "--origin", "b", "--samples", "2", "--beams", "2"])
    assert "mixed, b (" in (printed := capsys.readouterr().out)
    assert "2 samples, 2 beams" in printed

    with pytest.raises(SystemExit):
        main([*asked, "--origin", "c"])
    assert "no examples of c" in capsys.readouterr().err
