"""Each command ends with what it made, what it chose, and a command to go on with."""

import re
import shlex
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task
from tests.command_line import Finished, compression, compression_in
from tests.compression.language_models import mbart_folder
from tests.compression.tiny import tiny_dev, tiny_file

TASK = Task.TRANSLATION


def run(context: Context, command: str, *words: object) -> Finished:
    done = compression(*command.split(), *words, "--store", context.store.root)
    assert done.code == 0, done.error
    return done


def next_command(done: Finished) -> list[str]:
    """The words of the command on the last line, without `slimseq`."""
    last = done.out.splitlines()[-1]
    assert last.startswith("Next, "), last
    words = shlex.split(last.partition(": ")[2])
    program = next(place for place, word in enumerate(words[:3]) if Path(word).name == "slimseq")
    return words[program + 1 :]


def test_pruning_reports_what_is_left_and_warns_of_short_training(context: Context, tmp_path: Path) -> None:
    data = tiny_file(tmp_path)

    command = "prune translation original --decoder-layers 1 --max-steps 9"

    done = run(context, command, "--data", data, "--dev", tiny_dev(tmp_path))

    made, removed, kept, *_ = done.out.splitlines()
    assert re.match(r"translation/pruned: [\d,]+ parameters, [\d.]+ MB, ", made)
    assert re.match(r"original with \d+% of its parameters removed \(left: 1 of 2 decoder layers, ", removed)
    assert re.fullmatch(r"Layers kept: encoder 0, 1; decoder [01]\.", kept)
    assert "Only 9 training steps: below 100 a result means little." in done.out
    tiny_dev(tmp_path, "test.jsonl")
    evaluated = compression_in(tmp_path, *next_command(done))
    assert evaluated.code == 0, evaluated.error
    assert "pruned" in evaluated.out


def test_an_average_names_both_variants(context: Context, tmp_path: Path) -> None:
    run(context, "train translation --from original --name further --max-steps 2", "--data", tiny_file(tmp_path))

    done = run(context, "average translation further --share 0.25")

    assert "25% of the weights of further, 75% of those of original." in done.out.splitlines()
    assert next_command(done)[:3] == ["evaluate", "translation", "averaged"]


def test_quantization_says_its_scheme(context: Context) -> None:
    assert "Scheme: int8-dynamic." in run(context, "quantize", "translation", "original").out.splitlines()


def test_an_import_says_its_languages_and_how_to_measure_it(context: Context, tmp_path: Path) -> None:
    source = mbart_folder(tmp_path / "model")

    done = run(context, "import --task translation --language fr --language en --name fr-en", source)

    assert "Languages: fr to en (tokens fr_XX and en_XX). Prefix of inputs: ''." in done.out.splitlines()
    # The bundled sample is English and German, which says nothing of a model from French.
    assert next_command(done)[:6] == ["evaluate", "translation", "fr-en", "--record", "--data", "test.jsonl"]
    refused = compression("evaluate", "translation/fr-en", "--store", context.store.root)
    assert refused.code == 1
    assert refused.error.endswith(
        "the data set sample is en to de, and translation/fr-en fr to en; name a file with --data\n"
    )


def test_an_export_says_its_size_and_how_to_time_it(context: Context) -> None:
    done = run(context, "export translation original --format ctranslate2")

    assert re.match(r"translation/original: ctranslate2, [\d.]+ MB\n", done.out)
    assert next_command(done)[:5] == ["benchmark", "translation", "original", "--runtime", "ctranslate2"]


def test_a_training_that_made_it_worse_ends_with_two_and_its_card_says_so(context: Context, tmp_path: Path) -> None:
    learned = ("--max-steps", 60, "--learning-rate", 3e-3, "--tokens-per-batch", 200)
    run(context, "train translation --from original --name good", "--data", tiny_dev(tmp_path, "a.jsonl"), *learned)
    words = ("train", "translation", "--from", "good", "--name", "further", "--data", tiny_file(tmp_path))
    # The dev data is what the start has learned, and the new data is other.
    ends = ("--dev", tiny_dev(tmp_path), "--max-steps", 60, "--learning-rate", 0.03, "--store", context.store.root)

    done = compression(*words, *ends)

    assert done.code == 2, done.error
    manifest = context.store.manifest(TASK, "further")
    found = manifest.lineage[-1].parameters
    assert found["dev_loss_after"] > found["dev_loss_before"]
    losses = f"was {found['dev_loss_before']:.4f} before, and at best {found['dev_loss_after']:.4f} after"
    assert f"Warning: training made it worse: the loss on dev data {losses}." in done.out
    assert done.error.splitlines()[-1].startswith(
        f"gate failed: translation/further is kept, but training made it worse: the loss on dev data {losses}. "
    )
    card = (context.store.folder(TASK, "further") / "README.md").read_text()
    assert f"dev_loss_before={found['dev_loss_before']}, dev_loss_after={found['dev_loss_after']}" in card


def test_machines_get_json_and_nothing_else(context: Context, tmp_path: Path) -> None:
    done = run(context, "prune translation original --max-steps 1 --json", "--data", tiny_file(tmp_path))

    assert done.json["chosen"][0].startswith("original with ")
    assert done.json["remark"].startswith("Only 1 training step: ")
