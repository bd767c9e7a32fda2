"""Opens a model folder with transformers, and refuses a model that is not the one that the files hold.

The PyTorch runtime and the compression commands load models with `load_pretrained`. transformers draws random values
for a tensor that it does not find, and drops a tensor that it does not know. Some of its releases tie matrices that a
file holds apart (https://github.com/huggingface/transformers/issues/45005, 48154). Here each of these is an error that
names the tensor.

transformers 4 scales a T5's outputs where `tie_word_embeddings` is true. transformers 5 reads that key the same way,
but then calls every T5 tied, even if the files hold a separate output matrix. `untie_output` keeps such a matrix
separate.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.inference.models.bounds import shown
from slimseq.inference.models.configuration import read_config, read_json
from slimseq.inference.models.registry import family_named
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.inference.models.t5 import OUTPUT_TABLE, tie_word_embeddings
from slimseq.models_store.errors import BadSource, SlimseqError, first_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# The names of a T5's token matrices. BART's are the same with `model.` before them.
INPUT_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# A file of the library peft, with which transformers loads another model and changes it.
ADAPTER = "adapter_config.json"
# How many times as many parameters a model may have as its files hold, without positions. With more parameters, the
# configuration belongs to another model. It need not be 1, since files may leave out a tied matrix.
MAX_GROWTH = 2
# Tensors that a model does not need: a version number of fairseq, which old BART files hold, and computed positions,
# which old M2M100 files hold.
UNUSED = re.compile(r"(model\.)?(encoder|decoder)\.(version|embed_positions\.weights)")
POSITIONS = re.compile(r"(model\.)?(encoder|decoder)\.embed_positions\.weight")


def load_pretrained(folder: Path, dtype: "torch.dtype", attention: str | None = None) -> "PreTrainedModel":
    """Loads a model for conditional generation from safetensors, on the CPU, in evaluation mode.

    Its weights get the `dtype`, whatever dtype the files have. `attention` is the name of an implementation in
    transformers; None means the default. A model whose layers have different widths is of a subclass of transformers'
    class (`slimseq.inference.models.shaped_module`).

    Raises:
        BadSource: transformers cannot load the folder, or a tensor of its files is not in its place afterwards.
    """
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    from slimseq.inference.models.shaped_module import plain_class

    _refuse_other_sources(folder)
    register_own_models()
    # No warnings: what is wrong becomes an error here. No progress bars: they rewrite their line, and logs cannot.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        kind = _checked_class(folder)
        # The classes of transformers are found by transformers itself.
        opener: Any = AutoModelForSeq2SeqLM if kind is plain_class(kind) else kind
        model, info = opener.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except SlimseqError:
        raise
    except Exception as error:  # transformers raises whatever its loaders raise
        raise BadSource(f"{folder} cannot be loaded: {first_line(error)}") from error
    _refuse_unplaced(folder, model, info)
    _refuse_other_tables(folder, model)
    _refuse_other_scale(folder, model)
    if not is_output_tied(model):
        untie_output(model)
    model.train(False)
    return model  # type: ignore[no-any-return]


def register_own_models() -> None:
    """Registers the classes of families that transformers does not have with it."""
    import_module("slimseq.inference.models.marian_student_module")


def is_output_tied(model: "PreTrainedModel") -> bool:
    """Whether a model's output matrix is its token matrix."""
    output = _table(model, OUTPUT_TABLE)
    return output is None or output is model.get_input_embeddings().weight


def untie_output(model: "PreTrainedModel") -> None:
    """Gives a model an output matrix of its own, in place; transformers 5 does not tie it again."""
    import torch

    if is_output_tied(model):
        own = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())  # type: ignore[operator]
        model.get_output_embeddings().weight = own  # type: ignore[no-untyped-call]
    keys: Any = model._tied_weights_keys
    if isinstance(keys, dict):
        model._tied_weights_keys = {name: source for name, source in keys.items() if name != OUTPUT_TABLE}
        model.all_tied_weights_keys.pop(OUTPUT_TABLE, None)


def _refuse_other_sources(folder: Path) -> None:
    """Refuses a folder whose files would make transformers read others: of another folder, or of a hub."""
    if (folder / ADAPTER).exists():
        raise BadSource(f"{folder.name} has {ADAPTER}: merge the adapter into its model first")
    for index in folder.glob("*.index.json"):
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise BadSource(f"{folder.name}/{index.name} has no weight_map, which says where tensors are")
        for name in shards.values():
            if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
                raise BadSource(f"{folder.name}/{index.name} names {shown(name)}, which is no file of the folder")


def _checked_class(folder: Path) -> "type[PreTrainedModel]":
    """Returns the class of a folder's model.

    It refuses a configuration of a model that is much larger than what the files hold, before memory is taken.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    from slimseq.inference.models.shaped_module import class_for

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)  # type: ignore[no-untyped-call]
        kind = class_for(type(model), config)
        if kind is not type(model):
            model = kind(config)
    expected = sum(each.numel() for name, each in model.named_parameters() if not POSITIONS.fullmatch(name))
    held = SafetensorsReader(folder).elements
    if expected > MAX_GROWTH * held:
        raise BadSource(
            f"{folder.name}: config.json says a {_kind(model)} of {expected:,} parameters, and the safetensors hold "
            f"{held:,}"
        )
    return kind


def _refuse_unplaced(folder: Path, model: "PreTrainedModel", info: dict[str, Any]) -> None:
    """Refuses tensors that transformers missed, did not expect, or found in another shape, by its `info`."""
    family = family_named(model.config.model_type)
    # transformers makes these itself.
    made = {family.output_bias}
    if family.has_sinusoidal_positions:
        made |= {name for name in info["missing_keys"] if POSITIONS.fullmatch(name)}
    missing = sorted(set(info["missing_keys"]) - made)
    if missing:
        raise BadSource(f"{folder.name}: the safetensors hold no {missing[0]}, which a {_kind(model)} needs")
    unexpected = [name for name in sorted(info["unexpected_keys"]) if not UNUSED.fullmatch(name)]
    if unexpected:
        raise BadSource(f"{folder.name}: the safetensors hold {unexpected[0]}, for which a {_kind(model)} has no place")
    for key in info["mismatched_keys"]:
        name = key if isinstance(key, str) else key[0]
        raise BadSource(f"{folder.name}: {name} has another shape than config.json says")


def _refuse_other_tables(folder: Path, model: "PreTrainedModel") -> None:
    """Checks the token matrices and the output matrix, which files may leave out where they are tied."""
    weights, config = SafetensorsReader(folder), read_config(folder)
    # By a T5's name for a matrix: the name in the files, if they hold it.
    stored: dict[str, str] = {}
    for name in (*INPUT_TABLES, OUTPUT_TABLE):
        for name_in_files in (name, f"model.{name}"):
            if name_in_files in weights:
                stored[name] = name_in_files
    if _table(model, OUTPUT_TABLE) is None:
        # Each matrix of such a model has one name.
        return
    if OUTPUT_TABLE not in stored and not config.get("tie_word_embeddings", True):
        raise BadSource(f"{folder.name}: the safetensors hold no {OUTPUT_TABLE}, which config.json says is not tied")
    for name in (*INPUT_TABLES[1:], OUTPUT_TABLE):
        found = _table(model, name)
        for other in _equal_tables(name, list(stored), is_tied=tie_word_embeddings(config)):
            if found is None or not _is_same(found, weights, stored[other]):
                raise BadSource(
                    f"{folder.name}: {stored[other]} has other values in the safetensors than {name} in the loaded "
                    f"{_kind(model)}; config.json and the tensors disagree about which matrices are tied"
                )


def _equal_tables(name: str, stored: list[str], *, is_tied: bool) -> list[str]:
    """Returns the stored matrices to which a matrix of the model must be equal. `is_tied`: all are one matrix."""
    if is_tied:
        return stored
    if name in stored:
        return [name]
    inputs = [each for each in stored if each != OUTPUT_TABLE]
    return inputs or stored


def _is_same(found: "torch.Tensor", weights: SafetensorsReader, name: str) -> bool:
    """Whether a loaded tensor has the values of a stored one."""
    import torch

    return torch.equal(found.detach(), torch.from_numpy(weights.read(name)).to(found.dtype))


def _refuse_other_scale(folder: Path, model: "PreTrainedModel") -> None:
    """Refuses a T5 whose outputs the installed transformers scales in another way than the release that wrote it."""
    import transformers

    config = read_config(folder)
    is_old = transformers.__version__.startswith("4.")
    is_tied = model.config.tie_word_embeddings if is_old else tie_word_embeddings(model.config.to_dict())
    if is_tied != tie_word_embeddings(config):
        raise BadSource(
            f"{folder.name}: transformers {config.get('transformers_version', '4')} wrote this {_kind(model)}, and the "
            f"installed {transformers.__version__} scales its outputs otherwise; install that version"
        )


def _table(model: "PreTrainedModel", name: str) -> "torch.nn.Parameter | None":
    """Returns a matrix by the name that a T5 has for it; None where the model has none of that name."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return parameters.get(name, parameters.get(f"model.{name}"))


def _kind(model: "PreTrainedModel") -> str:
    """Returns what an error calls the model."""
    return str(model.config.model_type)
