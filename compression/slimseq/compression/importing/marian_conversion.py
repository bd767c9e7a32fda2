"""Converts a Marian student as Firefox has it (`model.*.bin` with `vocab.*.spm`) to a model folder.

`slimseq.compression.importing.importing` calls it for a folder of the user, or for one that `firefox_download` filled.
`sentencepiece_tokenizers` converts the vocabularies.

Marian's binary format has a version, the number of tensors, and four numbers a tensor (bytes of its name, type, number
of dimensions, bytes of its data), all uint64. The names, the dimensions (int32), padding and the data follow.

Float32 weights are written bit for bit. 8-bit integers are divided by their multiplier in float32. A quantization finds
the same integers again in the quotients (`slimseq.compression.quantize.int8.integer_matmuls`). Static activation scales
go to the configuration, for the scheme `int8-published`.

A shortlist (`lex.*.s2t.bin`) has a magic number, a checksum, two bounds, the number of offsets and the number of target
ids, all uint64. The offsets by source id (uint64) and the target ids (uint32) follow.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slimseq.compression.importing.sentencepiece_tokenizers import write_student_tokenizer
from slimseq.inference.models.marian_student import ACTIVATION_SCALES, POSITIONS, MarianStudent
from slimseq.inference.models.safetensors_reader import Floats
from slimseq.inference.models.shortlist import MAX_BYTES, Shortlist
from slimseq.models_store.errors import BadSource, printable
from slimseq.models_store.files import write_json

VERSION = 1
# Marian's numbers of the two data types that published students have.
FLOAT32, INTGEMM8 = 0x404, 0x4101
# Limits for hostile files, far above what published students have. Their largest file has 0.3 GB.
MAX_FILE_BYTES = 2**30
MAX_TENSORS = 10_000
MAX_NAME_BYTES = 1_000
MAX_DIMENSIONS = 4
MAX_SETTINGS_BYTES = 2**16
SHORTLIST_MAGIC = 0xF11A48D5013417F5
# The tensor that has the settings of the training, as YAML.
SETTINGS = "special:model.yml"
# Suffix of the tensors that have the multiplier of the activations before a matrix: 1 / scale.
MULTIPLIER = "_QuantMultA"
# Marian's name of the output projection in `none_QuantMultA`.
OUTPUT = "none"
# Multipliers of embeddings are not needed: a lookup in an embedding multiplies nothing.
IGNORED_TENSORS = re.compile(rf"special:.*|.*Wemb{MULTIPLIER}")
# The embedding tables: Marian's name, and the name in a model folder.
TABLES = {
    "Wemb": "model.shared.weight",
    "encoder_Wemb": "model.encoder.embed_tokens.weight",
    "decoder_Wemb": "model.decoder.embed_tokens.weight",
}
OUTPUT_BIAS = "decoder_ff_logit_out_b"
# The parts of a layer by Marian's name. Each has the modules of its matrices by Marian's name, and its layer norm.
PARTS = {
    "self": (
        {f"W{name}": f"self_attn.{name}_proj" for name in "qkv"} | {"Wo": "self_attn.out_proj"},
        "self_attn_layer_norm",
    ),
    "context": (
        {f"W{name}": f"encoder_attn.{name}_proj" for name in "qkv"} | {"Wo": "encoder_attn.out_proj"},
        "encoder_attn_layer_norm",
    ),
    "ffn": ({"W1": "fc1", "W2": "fc2"}, "final_layer_norm"),
    "rnn": ({"Wf": "cell.forget", "W": "cell.input"}, "cell_norm"),
}
LAYER = re.compile(r"(?P<stack>encoder|decoder)_l(?P<number>[1-9]\d?)_(?P<part>self|context|ffn|rnn)_(?P<tensor>.+)")
NORM = re.compile(r"(?:Wo|ffn)_ln_(?P<parameter>scale|bias)")
# Settings that every published student has. A model with another value is refused: Slimseq does not compute it.
REQUIRED: Mapping[str, Any] = {
    "type": "transformer",
    "dec-cell": "ssru",
    "transformer-decoder-autoreg": "rnn",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-top": "",
    "transformer-ffn-activation": "relu",
    "transformer-train-position-embeddings": False,
    "transformer-no-projection": False,
    "transformer-tied-layers": [],
    "lemma-dim-emb": 0,
}


def is_student(folder: Path) -> bool:
    """Whether a folder has files as Firefox's models have, and no `config.json`."""
    return not (folder / "config.json").exists() and bool(list(folder.glob("model.*.bin")))


def convert_student(source: Path, folder: Path) -> None:
    """Writes `config.json`, `generation_config.json`, `model.safetensors` and the tokenizer of a student.

    Raises:
        BadSource: a file is missing, damaged, too large or of another kind of model; one line says which and why.
    """
    from safetensors.numpy import save_file

    path = _only(source, "model.*.bin")
    vocabularies = _vocabularies(source)
    tensors = dict(_read_tensors(path))
    settings = _settings(path, tensors.pop(SETTINGS, None))
    multipliers = _take_multipliers(tensors)
    weights = dict(_renamed(path, tensors))
    config = _configuration(path, settings, weights)
    if multipliers:
        config[ACTIVATION_SCALES] = _activation_scales(path, multipliers)
    weights.setdefault("final_logits_bias", np.zeros((1, config["vocab_size"]), np.float32))
    _check_shapes(path, config, weights)
    folder.mkdir(parents=True)
    sizes = write_student_tokenizer(vocabularies, folder)
    tables = [weights[name] for name in TABLES.values() if name in weights]
    for vocabulary, size, table in zip(vocabularies, sizes, tables, strict=False):
        if size != len(table) or len(sizes) != len(tables):
            raise BadSource(f"{path.name} has {len(table)} tokens and {vocabulary.name} {size}: they are of two models")
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    _convert_shortlist(source, folder, source_tokens=sizes[0], target_tokens=sizes[-1])
    ids = MarianStudent().special_ids()
    write_json(folder / "generation_config.json", {**ids, "num_beams": 1, "max_length": POSITIONS // 2})


def _only(folder: Path, pattern: str) -> Path:
    """Returns the only file of a pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise BadSource(f"{folder.name} must have one {pattern}; it has {names}")
    return found[0]


def _vocabularies(source: Path) -> list[Path]:
    """Returns the file of the joint vocabulary, or the files of the source's and the target's vocabulary."""
    vocabularies = [
        _only(source, f"{side}vocab.*.spm") for side in ("src", "trg") if list(source.glob(f"{side}vocab.*.spm"))
    ]
    if len(vocabularies) == 1:
        raise BadSource(f"{source.name} has {vocabularies[0].name} and not that of the other side")
    return vocabularies or [_only(source, "vocab.*.spm")]


def _take_multipliers(tensors: dict[str, Any]) -> dict[str, Any]:
    """Removes the multipliers of activations from the tensors. Returns them by the name of their matrix."""
    target_table = "Wemb" if "Wemb" in tensors else "decoder_Wemb"
    multipliers = {}
    for name in [name for name in tensors if name.endswith(MULTIPLIER)]:
        matrix = name.removesuffix(MULTIPLIER)
        if matrix == OUTPUT:
            # The output projection is tied to the embedding of the target tokens.
            matrix = target_table
        multipliers[matrix] = tensors.pop(name)
    return multipliers


def _convert_shortlist(source: Path, folder: Path, source_tokens: int, target_tokens: int) -> None:
    """Writes the shortlist if the source has one, checked against the sizes of the vocabularies."""
    if not list(source.glob("lex.*.bin")):
        return
    path = _only(source, "lex.*.bin")
    shortlist = _read_shortlist(path)
    problem = shortlist.problem(source_tokens, target_tokens)
    if problem:
        raise BadSource(f"{path.name} is no shortlist of this model: {problem}")
    shortlist.write(folder)


def _read_shortlist(path: Path) -> Shortlist:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_BYTES:,} of a shortlist")
    content = path.read_bytes()
    header = struct.Struct("<6Q")
    # Zeros in place of a truncated header have a wrong magic number, which is refused below.
    fields = header.unpack(content[: header.size].ljust(header.size, b"\0"))
    magic, _checksum, first_tokens, _best_tokens, offset_count, id_count = fields
    ids_start = header.size + 8 * offset_count
    if magic != SHORTLIST_MAGIC or ids_start + 4 * id_count != size or not offset_count:
        raise BadSource(f"{path.name} is no shortlist, or its size is not what its header says: it is damaged")
    offsets = np.frombuffer(content, "<u8", offset_count, header.size).astype(np.int64)
    return Shortlist(first_tokens, offsets, np.frombuffer(content, "<u4", id_count, ids_start))


class _TensorHeader(NamedTuple):
    """The four numbers of a tensor at the begin of the file."""

    name_bytes: int
    kind: int
    dimensions: int
    data_bytes: int


def _read_tensors(path: Path) -> Iterator[tuple[str, Floats | bytes]]:
    """Yields the settings as bytes and all other tensors as float32, matrices of linear layers `(outputs, inputs)`.

    All sizes are checked against the size of the file before the data of any tensor is read.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_FILE_BYTES:,} that a student may have")
    content = memoryview(path.read_bytes())
    position = 0

    def read(layout: str) -> tuple[Any, ...]:
        """Reads the next values of the header, and moves on behind them."""
        nonlocal position
        start = position
        position += struct.calcsize(layout)
        if position > size:
            raise BadSource(f"{path.name} ends in its header: it is truncated or no model of Marian")
        return struct.unpack_from(layout, content, start)

    version, count = read("<QQ")
    if version != VERSION:
        raise BadSource(f"{path.name} is of version {version} of Marian's format, not {VERSION}, or no model of Marian")
    if count > MAX_TENSORS:
        raise BadSource(f"{path.name} names {count:,} tensors, more than the {MAX_TENSORS:,} that a student may have")
    headers = [_TensorHeader(*read("<4Q")) for _ in range(count)]
    if any(header.name_bytes > MAX_NAME_BYTES or header.dimensions > MAX_DIMENSIONS for header in headers):
        raise BadSource(f"{path.name} has a tensor with an impossible name or shape: it is damaged")
    names = []
    for header in headers:
        (name,) = read(f"<{header.name_bytes}s")
        names.append(printable(name.rstrip(b"\0").decode(errors="replace")))
    shapes = [read(f"<{header.dimensions}i") for header in headers]
    (padding,) = read("<Q")
    position += padding
    if position + sum(header.data_bytes for header in headers) > size:
        raise BadSource(f"{path.name} ends before its tensors do: it is truncated")
    for name, header, shape in zip(names, headers, shapes, strict=True):
        data = content[position : position + header.data_bytes]
        position += header.data_bytes
        if name == SETTINGS:
            yield name, bytes(data[:MAX_SETTINGS_BYTES])
        elif not IGNORED_TENSORS.fullmatch(name):
            yield name, _to_float32(path, name, header.kind, shape, data)


def _to_float32(path: Path, name: str, kind: int, shape: tuple[int, ...], data: memoryview) -> Floats:
    if kind not in (FLOAT32, INTGEMM8):
        raise BadSource(f"{path.name}: {name} is of type {kind:#x}; float32 and intgemm8 are read")
    # Python's integers do not overflow, whatever the file says.
    count = int(np.prod(shape, dtype=object))
    # The multiplier, a float32, follows 8-bit integers.
    needed_bytes = 4 * count if kind == FLOAT32 else count + 4
    if len(shape) != 2 or min(shape) < 1 or needed_bytes > len(data):
        raise BadSource(f"{path.name}: {name} has the shape {shape} and {len(data):,} bytes, which do not agree")
    # Marian's shape of a linear layer is (inputs, outputs). Float32 values are stored like that. 8-bit integers are
    # stored as (outputs, inputs) already. Embedding tables have a row a token in both types.
    is_linear = name not in TABLES and name != OUTPUT_BIAS
    if kind == FLOAT32:
        values = np.frombuffer(data, "<f4", count).reshape(shape)
        is_vector = min(shape) == 1
        if is_linear and not is_vector:
            values = values.T
    else:
        (multiplier,) = np.frombuffer(data, "<f4", 1, count)
        integers = np.frombuffer(data, np.int8, count).reshape(shape[::-1] if is_linear else shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = integers.astype(np.float32) / multiplier
    if not np.isfinite(values).all():
        raise BadSource(f"{path.name}: {name} has values that are no numbers: it is damaged")
    return np.ascontiguousarray(values)


def _settings(path: Path, text: Floats | bytes | None) -> dict[str, Any]:
    """Returns the settings of the training, after a check of those that the computation depends on."""
    import yaml

    content = bytes(text or b"").rstrip(b"\0")
    try:
        # Aliases of aliases can stand for more than the memory holds. Marian writes none, so a file that has one gets
        # a `type` that the check below refuses.
        has_aliases = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content))
        settings = {"type": "full of aliases"} if has_aliases else yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadSource(f"{path.name}: {SETTINGS} cannot be read: it is damaged") from error
    if not isinstance(settings, dict):
        raise BadSource(f"{path.name} has no {SETTINGS}, which says how the model was trained")
    for name, value in REQUIRED.items():
        if settings.get(name, value) != value:
            raise BadSource(f"{path.name} is no Marian student: its {name} is {settings[name]!r}, not {value!r}")
    return settings


def _renamed(path: Path, tensors: Mapping[str, Any]) -> Iterator[tuple[str, Floats]]:
    """Yields the tensors with the names of a model folder. Marian has vectors as matrices with one row."""
    for name, values in tensors.items():
        if name in TABLES:
            yield TABLES[name], values
            continue
        if name == OUTPUT_BIAS:
            yield "final_logits_bias", values
            continue
        layer = LAYER.fullmatch(name)
        parameter = None if layer is None else _parameter_name(layer["part"], layer["tensor"])
        if layer is None or parameter is None:
            raise BadSource(f"{path.name} is no Marian student: it has a tensor {name}")
        is_vector = "norm" in parameter or parameter.endswith("bias")
        index = int(layer["number"]) - 1
        yield f"model.{layer['stack']}.layers.{index}.{parameter}", values.reshape(-1) if is_vector else values


def _activation_scales(path: Path, multipliers: Mapping[str, Any]) -> dict[str, float]:
    """Returns the scale of each matrix's inputs, by the matrix's module."""
    for name, values in multipliers.items():
        if values.size != 1 or values.min() <= 0:
            raise BadSource(f"{path.name}: {name}{MULTIPLIER} is no multiplier: it is damaged")
    return {module.removesuffix(".weight"): 1 / float(values.item()) for module, values in _renamed(path, multipliers)}


def _parameter_name(part: str, tensor: str) -> str | None:
    """Returns the name of a parameter within its layer, or None for a tensor that a Marian student does not have."""
    modules, norm = PARTS[part]
    norm_match = NORM.fullmatch(tensor)
    if norm_match:
        return f"{norm}.{'weight' if norm_match['parameter'] == 'scale' else 'bias'}"
    if tensor in modules:
        return f"{modules[tensor]}.weight"
    # The bias of the matrix `Wq` is `bq`.
    matrix = f"W{tensor.removeprefix('b')}"
    return f"{modules[matrix]}.bias" if tensor.startswith("b") and matrix in modules else None


def _layer_count(weights: Mapping[str, Floats], stack: str) -> int:
    prefix = f"model.{stack}.layers."
    indices = [int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix)]
    return max(indices, default=-1) + 1


def _configuration(path: Path, settings: Mapping[str, Any], weights: Mapping[str, Floats]) -> dict[str, Any]:
    """Returns the content of `config.json`, from the shapes of the tensors and the settings of the training."""
    found = partial(_tensor, path, weights)
    is_shared = TABLES["Wemb"] in weights
    targets = found(TABLES["Wemb"] if is_shared else TABLES["decoder_Wemb"])
    layers = {stack: _layer_count(weights, stack) for stack in ("encoder", "decoder")}
    heads, width = settings.get("transformer-heads"), targets.shape[1]
    if not isinstance(heads, int) or heads < 1 or width % heads or width < 4 or width % 2 or not min(layers.values()):
        raise BadSource(f"{path.name} is no Marian student: {heads!r} heads, a width of {width}, layers {layers}")
    config = {
        "model_type": MarianStudent.model_type,
        "vocab_size": len(targets),
        "d_model": width,
        **{f"{stack}_layers": count for stack, count in layers.items()},
        "attention_heads": heads,
        "head_width": width // heads,
        **{f"{stack}_ffn_dim": len(found(f"model.{stack}.layers.0.fc1.weight")) for stack in layers},
        "max_position_embeddings": POSITIONS,
        "dropout": 0.1,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        **MarianStudent().special_ids(),
    }
    if not is_shared:
        config["source_vocab_size"] = len(found(TABLES["encoder_Wemb"]))
    # Published files are `model.ende.bin`, and downloaded ones `model.en-to-de.bin`.
    pair = path.name.split(".")[1]
    languages = re.fullmatch("([a-z]{2})([a-z]{2})", pair) or re.fullmatch("(.+)-to-(.+)", pair)
    if languages:
        config |= {"source_lang": languages[1], "target_lang": languages[2]}
    return config


def _check_shapes(path: Path, config: Mapping[str, Any], weights: Mapping[str, Floats]) -> None:
    """Checks that a model of this configuration has exactly these tensors, each in its shape."""
    import torch

    from slimseq.inference.models.marian_student_module import MarianStudentConfig, MarianStudentModel

    with torch.device("meta"):
        expected = MarianStudentModel(MarianStudentConfig(**config)).state_dict()
    for name in weights.keys() - expected.keys():
        raise BadSource(f"{path.name} is no Marian student: it has a tensor {name}")
    for name, tensor in expected.items():
        shape = _tensor(path, weights, name).shape
        if shape != tensor.shape:
            shapes = f"{shape}, not {tuple(tensor.shape)}"
            raise BadSource(f"{path.name} is no Marian student: {name} has the shape {shapes}")


def _tensor(path: Path, weights: Mapping[str, Floats], name: str) -> Floats:
    if name not in weights:
        raise BadSource(f"{path.name} lacks a tensor of a Marian student: {name}")
    return weights[name]
