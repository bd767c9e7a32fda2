from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, load_model
from slimseq.compression.prune.prune import PruneOptions, prune
from slimseq.compression.technique import Job
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.trainer import TrainingOptions
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Manifest, Task
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
def test_pruning_an_artifact_publishes_one_with_its_lineage(tmp_path: Path, family: Family) -> None:
    context = tiny_context(tmp_path, seed=7)
    parent = tiny_artifact(context, family, tmp_path)
    file = tiny_file(tmp_path)
    training = TrainingOptions(bounds=Bounds(max_steps=6), learning_rate=1e-3, tokens_per_batch=200, dropout=0.0)

    outcome = prune(
        Job(context, Task.TRANSLATION, "original", "pruned", DataFiles([file], dev=[file])),
        PruneOptions(feed_forward=0.5, heads=3, samples=12),
        training,
    )
    manifest = context.store.manifest(Task.TRANSLATION, "pruned")
    context.store.verify(Task.TRANSLATION, "pruned")
    loaded = load_model(context.store.folder(Task.TRANSLATION, "pruned"))

    assert outcome.manifest == manifest
    step = manifest.lineage[-1]
    assert (step.technique, step.parent, step.seed) == ("prune", parent.digest, 7)
    assert (step.parameters["heads"], step.parameters["kept_channels"]) == (3, {"encoder": 32, "decoder": 32})
    assert (step.parameters["steps"], step.parameters["data"]) == (6, ["train.jsonl"])
    assert step.versions["torch"] and step.seconds > 0
    assert manifest.size.parameters == loaded.num_parameters() < parent.size.parameters
    assert manifest.generation == parent.generation
    assert (
        outcome.report is not None and outcome.report.dev_loss_after is not None and outcome.parent_dev_loss is not None
    )


def test_a_variant_is_never_replaced_by_what_is_made_from_it(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    with pytest.raises(BadParameters, match="--name"):
        prune(
            Job(context, Task.TRANSLATION, "original", "original", DataFiles([tiny_file(tmp_path)])),
            PruneOptions(),
            TrainingOptions(bounds=Bounds(max_steps=0)),
        )


@pytest.mark.parametrize(("wrong", "words"), [({"budget": 1.0}, "--budget 1 is not"), ({"vocabulary": -1}, "below 0")])
def test_options_out_of_range_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        PruneOptions(**wrong).check()


def recovered(folder: Path, family: Family, options: PruneOptions, steps: int = 3) -> tuple[Manifest, Manifest, Path]:
    """Prunes an artifact of a random model and lets it learn; returns parent, result and the result's folder."""
    context = tiny_context(folder)
    parent = tiny_artifact(context, family, folder)
    file = tiny_file(folder)
    training = TrainingOptions(bounds=Bounds(max_steps=steps), learning_rate=1e-3, tokens_per_batch=200, dropout=0.0)
    files = DataFiles([file], dev=[file])
    outcome = prune(Job(context, Task.TRANSLATION, "original", "pruned", files), options, training)
    context.store.verify(Task.TRANSLATION, "pruned")
    return parent, outcome.manifest, context.store.folder(Task.TRANSLATION, "pruned")


@pytest.mark.parametrize("family", list(Family))
def test_layers_are_removed_and_the_manifest_says_which_and_why(tmp_path: Path, family: Family) -> None:
    options = PruneOptions(feed_forward=1, encoder_layers=1, decoder_layers=1)

    _, manifest, folder = recovered(tmp_path, family, options)
    architecture = architecture_of_model(load_model(folder))
    parameters = manifest.lineage[-1].parameters

    assert [len(stack.layers) for stack in architecture.stacks] == [1, 1]
    layers = {row["layer"]: row for row in parameters["importance"]["layers"]}
    for stack in ("encoder", "decoder"):
        (kept,) = parameters["kept_layers"][stack]
        rises = [layers[f"{stack}.{index}"]["loss_rise"] for index in range(2)]
        assert rises[1 - kept] <= rises[kept]
        assert layers[f"{stack}.{kept}"]["stays"] and not layers[f"{stack}.{1 - kept}"]["stays"]
    assert "1 of 2 encoder layers, 1 of 2 decoder layers" in manifest.description


@pytest.mark.parametrize(("family", "limit"), [(Family.T5, 180), (Family.BART, 300)])
def test_a_trimmed_vocabulary_serves_with_its_own_tokenizer(tmp_path: Path, family: Family, limit: int) -> None:
    parent, manifest, folder = recovered(tmp_path, family, PruneOptions(feed_forward=1, vocabulary=limit))
    model, tokenizer = load_model(folder), Tokenizer(folder)
    theirs = AutoTokenizer.from_pretrained(folder)

    text = "translate: The cat sleeps on the warm stone."
    ids = tokenizer.encode(text, 99).ids
    after, before = manifest.lineage[-1].parameters["kept_tokens"]

    assert after == model.config.vocab_size <= limit < before
    assert max(ids) < after and theirs(text).input_ids == ids
    assert tokenizer.decode(ids) == text
    assert manifest.size.parameters == parent.size.parameters - (before - after) * 32


def test_the_teacher_of_a_student_with_a_trimmed_vocabulary_is_trimmed_too(tmp_path: Path) -> None:
    """Nothing but ids is cut, so that before any step the student is its teacher: the loss is the same."""
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    file = tiny_file(tmp_path)

    outcome = prune(
        Job(context, Task.TRANSLATION, "original", "pruned", DataFiles([file], dev=[file])),
        PruneOptions(feed_forward=1, vocabulary=0),
        TrainingOptions(bounds=Bounds(max_steps=0)),
    )

    assert outcome.report is not None and outcome.parent_dev_loss is not None
    assert outcome.report.dev_loss_before == outcome.parent_dev_loss


@pytest.mark.parametrize("family", list(Family))
def test_a_budget_is_reached_by_the_best_shape_that_was_tried(tmp_path: Path, family: Family) -> None:
    parent, manifest, folder = recovered(tmp_path, family, PruneOptions(budget=0.3), steps=1)
    parameters = manifest.lineage[-1].parameters
    allowed = 0.7 * parent.size.parameters

    reached = [row for row in parameters["tried"] if row["parameters"] <= allowed]
    best = min(reached, key=lambda row: row["loss"])

    (chosen,) = [row for row in reached if parameters["shape"].items() <= row.items()]

    assert chosen["loss"] == best["loss"]
    assert chosen["parameters"] == manifest.size.parameters == load_model(folder).num_parameters() <= allowed


def test_a_trimmed_vocabulary_counts_for_a_budget(tmp_path: Path) -> None:
    options = PruneOptions(budget=0.35, vocabulary=0, encoder_layers=2, decoder_layers=2)

    parent, manifest, _ = recovered(tmp_path, Family.BART, options, steps=0)
    tried = manifest.lineage[-1].parameters["tried"]

    assert manifest.size.parameters <= 0.65 * parent.size.parameters
    assert manifest.size.parameters in [row["parameters"] for row in tried]
