from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from compression.anatomy import anatomy_of
from compression.errors import BadParameters
from compression.importance import measure_importance
from compression.models import load_model
from compression.prune import PruneOptions, kept_channels, prune, pruned
from compression.publish import write_model
from compression.training.data import DataFiles
from compression.training.schedule import Bounds
from compression.training.trainer import TrainingOptions
from models_store.manifest import Family, Manifest, Task
from models_store.tokenizer import Tokenizer
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file, tiny_model, tiny_set, tiny_tokenizer

KINDS: dict[str, tuple[Family, dict[str, int | bool]]] = {
    "t5-relu": (Family.T5, {}),
    "t5-gated-untied": (Family.T5, {"is_gated": True, "is_tied": False}),
    "bart": (Family.BART, {}),
}
IDS = torch.tensor([[5, 9, 17, 30, 8, 1]])


def made(kind: str, folder: Path) -> tuple[PreTrainedModel, Path]:
    family, changes = KINDS[kind]
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    return tiny_model(family, tokenizer, **changes), tokenizer


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=IDS, decoder_input_ids=IDS).logits
    return result


def silence(model: PreTrainedModel, name: str, columns: list[int]) -> None:
    with torch.no_grad():
        model.get_parameter(f"{name}.weight")[:, columns] = 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_removing_silent_channels_changes_nothing(tmp_path: Path, kind: str) -> None:
    model, tokenizer = made(kind, tmp_path)
    for number, stack in enumerate(anatomy_of(model).stacks):
        for index, layer in enumerate(stack.layers):
            start = 3 * number + index
            silence(model, layer.feed_forward.down, list(range(start, start + 40)))
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    smaller = pruned(model, {"encoder": 24, "decoder": 24}, None, importance)

    torch.testing.assert_close(logits(smaller), logits(model), rtol=1e-4, atol=1e-4)
    assert smaller.num_parameters() < model.num_parameters()


@pytest.mark.parametrize("kind", ["t5-relu", "t5-gated-untied"])
def test_removing_silent_heads_of_a_t5_changes_nothing(tmp_path: Path, kind: str) -> None:
    model, tokenizer = made(kind, tmp_path)
    for stack in anatomy_of(model).stacks:
        for index, layer in enumerate(stack.layers):
            silence(model, layer.self_attention.output, [*range(8), *range(16, 24)])
            if layer.cross_attention is not None:
                silence(model, layer.cross_attention.output, list(range(8 * index, 8 * index + 16)))
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    smaller = pruned(model, {"encoder": 64, "decoder": 64}, 2, importance)

    torch.testing.assert_close(logits(smaller), logits(model), rtol=1e-4, atol=1e-4)
    assert (smaller.config.num_heads, smaller.config.d_kv) == (2, 8)


def test_narrowing_a_bart_to_the_half_that_is_read_gives_that_half(tmp_path: Path) -> None:
    narrow, tokenizer = made("bart", tmp_path)
    with torch.no_grad():
        for parameter in narrow.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    wide = doubled(narrow)
    importance = measure_importance(wide, tiny_set(tokenizer), tiny_context(tmp_path))

    again = pruned(wide, {"encoder": 64, "decoder": 64}, 4, importance)

    assert (again.config.d_model, again.config.encoder_attention_heads) == (32, 4)
    torch.testing.assert_close(logits(again), logits(narrow), rtol=1e-3, atol=1e-3)


def doubled(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a BART twice as wide whose second half of channels repeats the first and is not read by any projection.

    Repeating keeps what the layer norms compute. The second half of the heads adds nothing. Positions make up for
    sqrt(d_model) in front of the token embeddings, which are the output layer too: logits are twice as large.
    """
    config = {"d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 8}
    wide: PreTrainedModel = type(model)(type(model.config).from_dict(model.config.to_dict() | config))
    state = {}
    for name, tensor in model.state_dict().items():
        if "_proj.weight" in name and "out_proj" not in name:
            state[name] = torch.zeros(64, 64)
            state[name][:32, :32] = tensor
        elif "_proj.bias" in name and "out_proj" not in name:
            state[name] = torch.cat([tensor, torch.zeros(32)])
        elif "fc1.weight" in name:
            state[name] = torch.cat([tensor, torch.zeros(64, 32)], dim=1)
        elif "out_proj.weight" in name:
            state[name] = torch.cat([torch.cat([tensor, tensor]), torch.zeros(64, 32)], dim=1)
        elif "fc2.weight" in name or (tensor.dim() == 1 and "fc1" not in name):
            state[name] = torch.cat([tensor, tensor])
        elif "embed_positions" in name:
            state[name] = torch.cat([tensor, tensor], dim=1) * 2**0.5
        elif "fc1.bias" in name or name == "final_logits_bias":
            state[name] = tensor
        else:
            state[name] = torch.cat([tensor, tensor], dim=1)
    wide.load_state_dict(state)
    wide.train(False)
    return wide


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_configuration_says_what_is_there_and_the_folder_loads(tmp_path: Path, kind: str) -> None:
    model, tokenizer = made(kind, tmp_path)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    smaller = pruned(model, {"encoder": 40, "decoder": 40}, 3, importance)
    smaller.bfloat16()
    write_model(smaller, tmp_path / "model")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "model", dtype=torch.bfloat16, attn_implementation=smaller.config._attn_implementation
    )
    config = loaded.config

    if kind == "bart":
        assert (config.d_model, config.encoder_attention_heads, config.decoder_attention_heads) == (24, 3, 3)
        assert (config.encoder_ffn_dim, config.decoder_ffn_dim) == (40, 40)
    else:
        assert (config.d_ff, config.num_heads, config.d_kv, config.d_model) == (40, 3, 8, 32)
    assert torch.equal(logits(loaded), logits(smaller))


def test_every_layer_keeps_its_own_best_channels(tmp_path: Path) -> None:
    model, tokenizer = made("t5-relu", tmp_path)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    smaller = pruned(model, {"encoder": 16, "decoder": 16}, None, importance)

    for stack in anatomy_of(model).stacks:
        for layer in stack.layers:
            kept = importance.channels[layer.feed_forward.down].topk(16).indices.sort().values
            whole = model.get_parameter(f"{layer.feed_forward.up[0]}.weight")
            assert torch.equal(smaller.get_parameter(f"{layer.feed_forward.up[0]}.weight"), whole[kept])


def test_the_given_model_stays_as_it_is(tmp_path: Path) -> None:
    model, tokenizer = made("bart", tmp_path)
    before = logits(model)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    pruned(model, {"encoder": 16, "decoder": 32}, 2, importance)

    assert torch.equal(logits(model), before)
    assert model.config.d_model == 32


def test_a_share_and_a_number_of_channels_mean_the_same(tmp_path: Path) -> None:
    model, _ = made("t5-relu", tmp_path)

    assert kept_channels(model, 0.25) == kept_channels(model, 16) == {"encoder": 16, "decoder": 16}


@pytest.mark.parametrize("wrong", [0.0, -1.0, 2.5, 65.0])
def test_a_number_of_channels_that_cannot_be_is_refused(tmp_path: Path, wrong: float) -> None:
    model, _ = made("t5-relu", tmp_path)

    with pytest.raises(BadParameters, match="--feed-forward"):
        kept_channels(model, wrong)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("heads", [0, 5])
def test_a_number_of_heads_that_cannot_be_is_refused(tmp_path: Path, kind: str, heads: int) -> None:
    model, tokenizer = made(kind, tmp_path)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    with pytest.raises(BadParameters, match="of 4 attention heads"):
        pruned(model, {"encoder": 64, "decoder": 64}, heads, importance)


@pytest.mark.parametrize("family", list(Family))
def test_pruning_an_artifact_publishes_one_with_its_lineage(tmp_path: Path, family: Family) -> None:
    context = tiny_context(tmp_path, seed=7)
    parent = tiny_artifact(context, family, tmp_path)
    file = tiny_file(tmp_path)
    training = TrainingOptions(bounds=Bounds(max_steps=6), learning_rate=1e-3, tokens_per_batch=200, dropout=0.0)

    outcome = prune(
        context,
        Task.TRANSLATION,
        "original",
        "pruned",
        DataFiles([file], dev=[file]),
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
            context,
            Task.TRANSLATION,
            "original",
            "original",
            DataFiles([tiny_file(tmp_path)]),
            PruneOptions(),
            TrainingOptions(bounds=Bounds(max_steps=0)),
        )


def recovered(folder: Path, family: Family, options: PruneOptions, steps: int = 3) -> tuple[Manifest, Manifest, Path]:
    """Prunes an artifact of a random model and lets it learn; returns parent, result and the result's folder."""
    context = tiny_context(folder)
    parent = tiny_artifact(context, family, folder)
    file = tiny_file(folder)
    training = TrainingOptions(bounds=Bounds(max_steps=steps), learning_rate=1e-3, tokens_per_batch=200, dropout=0.0)
    files = DataFiles([file], dev=[file])
    outcome = prune(context, Task.TRANSLATION, "original", "pruned", files, options, training)
    context.store.verify(Task.TRANSLATION, "pruned")
    return parent, outcome.manifest, context.store.folder(Task.TRANSLATION, "pruned")


@pytest.mark.parametrize("family", list(Family))
def test_layers_are_removed_and_the_manifest_says_which_and_why(tmp_path: Path, family: Family) -> None:
    options = PruneOptions(feed_forward=1, encoder_layers=1, decoder_layers=1)

    _, manifest, folder = recovered(tmp_path, family, options)
    anatomy = anatomy_of(load_model(folder))
    parameters = manifest.lineage[-1].parameters

    assert [len(stack.layers) for stack in anatomy.stacks] == [1, 1]
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
    theirs = AutoTokenizer.from_pretrained(folder)  # type: ignore[no-untyped-call]

    text = "translate: The cat sleeps on the warm stone."
    ids = tokenizer.encode(text, 99).ids
    after, before = manifest.lineage[-1].parameters["kept_tokens"]

    assert after == model.config.vocab_size <= limit < before
    assert max(ids) < after and theirs(text).input_ids == ids
    assert tokenizer.decode(ids) == text
    assert manifest.size.parameters == parent.size.parameters - (before - after) * 32


def test_the_teacher_of_a_trimmed_student_is_trimmed_alike(tmp_path: Path) -> None:
    """Nothing but ids is cut, so that before any step the student is its teacher: the loss is the same."""
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    file = tiny_file(tmp_path)

    outcome = prune(
        context,
        Task.TRANSLATION,
        "original",
        "pruned",
        DataFiles([file], dev=[file]),
        PruneOptions(feed_forward=1, vocabulary=0),
        TrainingOptions(bounds=Bounds(max_steps=0)),
    )

    assert outcome.report is not None and outcome.parent_dev_loss is not None
    assert outcome.report.dev_loss_before == outcome.parent_dev_loss


@pytest.mark.parametrize("family", list(Family))
def test_zeros_survive_recovery_and_are_counted(tmp_path: Path, family: Family) -> None:
    _, manifest, folder = recovered(tmp_path, family, PruneOptions(feed_forward=0.5, pattern="2:4"))
    model = load_model(folder)
    linear = [
        model.get_parameter(f"{name}.weight")
        for stack in anatomy_of(model).stacks
        for layer in stack.layers
        for name in layer.projections
    ]

    zeros = manifest.size.parameters - manifest.size.nonzero_parameters
    assert all(int((weight == 0).sum()) >= weight.numel() // 2 for weight in linear)
    assert zeros >= sum(weight.numel() for weight in linear) // 2
    assert "not time" in manifest.description


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


def test_everything_at_once_gives_an_artifact_that_serves(tmp_path: Path) -> None:
    options = PruneOptions(
        feed_forward=0.5,
        heads=3,
        encoder_layers=1,
        layer_choice="even",
        vocabulary=0,
        sparsity=0.5,
        criterion="magnitude",
    )

    _, manifest, folder = recovered(tmp_path, Family.BART, options)
    config = load_model(folder).config

    assert (config.encoder_layers, config.decoder_layers, config.d_model, config.encoder_ffn_dim) == (1, 2, 24, 32)
    assert manifest.size.nonzero_parameters < manifest.size.parameters
    assert (folder / "onnx").is_dir()
