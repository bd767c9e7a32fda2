"""Reads a Marian student as Firefox has it, `model.*.bin` with `vocab.*.spm`, and writes it as a model folder.

Marian's binary format: version, number of tensors, and four sizes a tensor (name, type, dimensions, bytes), all uint64;
then the names, the dimensions (int32), padding, and the tensors. Weights come out as published: float32 bit for bit,
8-bit integers divided by their multiplier in float32, from which a quantization finds the same integers again
(`slimseq.compression.quantize.int8.integer_matmuls`). Static activation scales go to the configuration, for the scheme
`int8-published`.

A shortlist, `lex.*.s2t.bin`: a magic number, a checksum, two bounds, and the numbers of offsets and of target ids, all
uint64; then the offsets by source id, uint64, and the target ids, uint32.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimseq.compression.importing.sentencepiece_tokenizers import write_student_tokenizer
from slimseq.inference.models.marian_student import ACTIVATION_SCALES, POSITIONS, MarianStudent
from slimseq.inference.models.safetensors_reader import Floats
from slimseq.inference.models.shortlist import MAX_BYTES, Shortlist
from slimseq.models_store.errors import BadSource, printable
from slimseq.models_store.files import write_json

VERSION = 1
FLOAT32, INTGEMM8 = 0x404, 0x4101
# The largest published files have 0.3 GB; tensors, bytes of a name, dimensions and bytes of `special:model.yml`.
MAX_FILE_BYTES = 2**30
MAX_TENSORS, MAX_NAME_BYTES, MAX_DIMENSIONS, MAX_SETTINGS_BYTES = 10_000, 1_000, 4, 2**16
SHORTLIST_MAGIC = 0xF11A48D5013417F5
SETTINGS = "special:model.yml"
MULTIPLIER = "_QuantMultA"
# The output projection in names of multipliers. A lookup in an embedding multiplies nothing.
OUTPUT = "none"
NOT_READ = re.compile(rf"special:.*|.*Wemb{MULTIPLIER}")
TABLES = {
    "Wemb": "model.shared.weight",
    "encoder_Wemb": "model.encoder.embed_tokens.weight",
    "decoder_Wemb": "model.decoder.embed_tokens.weight",
}
OUTPUT_BIAS = "decoder_ff_logit_out_b"
# What each part of a layer is here, by the part's name there: its modules, and its norm.
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
LAYER = re.compile(r"(encoder|decoder)_l([1-9]\d?)_(self|context|ffn|rnn)_(.+)")
NORM = re.compile(r"(?:Wo|ffn)_ln_(scale|bias)")
# What must be as every published student has it, since nothing else is computed here.
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
    vocabularies = [
        _only(source, f"{side}vocab.*.spm") for side in ("src", "trg") if list(source.glob(f"{side}vocab.*.spm"))
    ]
    if len(vocabularies) == 1:
        raise BadSource(f"{source.name} has {vocabularies[0].name} and not that of the other side")
    vocabularies = vocabularies or [_only(source, "vocab.*.spm")]
    tensors = dict(_read_tensors(path))
    settings = _settings(path, tensors.pop(SETTINGS, None))
    targets = "Wemb" if "Wemb" in tensors else "decoder_Wemb"
    multipliers = {}
    for name in [name for name in tensors if name.endswith(MULTIPLIER)]:
        matrix = name.removesuffix(MULTIPLIER)
        # The output matrix is the table of the target's tokens.
        multipliers[targets if matrix == OUTPUT else matrix] = tensors.pop(name)
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
    if list(source.glob("lex.*.bin")):
        shortlist_path = _only(source, "lex.*.bin")
        shortlist = _read_shortlist(shortlist_path)
        problem = shortlist.problem(sizes[0], sizes[-1])
        if problem:
            raise BadSource(f"{shortlist_path.name} is no shortlist of this model: {problem}")
        shortlist.write(folder)
    ids = MarianStudent().special_ids()
    write_json(folder / "generation_config.json", {**ids, "num_beams": 1, "max_length": POSITIONS // 2})


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise BadSource(f"{folder.name} must have one {pattern}; it has {names}")
    return found[0]


def _read_shortlist(path: Path) -> Shortlist:
    size, head = path.stat().st_size, struct.Struct("<6Q")
    if size > MAX_BYTES:
        raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_BYTES:,} of a shortlist")
    content = path.read_bytes()
    magic, _, first, _, offsets, ids = head.unpack(content[: head.size].ljust(head.size, b"\0"))
    if magic != SHORTLIST_MAGIC or head.size + 8 * offsets + 4 * ids != size or not offsets:
        raise BadSource(f"{path.name} is no shortlist, or its size is not what its header says: it is damaged")
    places = np.frombuffer(content, "<u8", offsets, head.size).astype(np.int64)
    return Shortlist(first, places, np.frombuffer(content, "<u4", ids, head.size + 8 * offsets))


def _read_tensors(path: Path) -> Iterator[tuple[str, Floats | bytes]]:
    """Yields the tensors of a file: those of numbers as float32, linear matrices `(outputs, inputs)`.

    All sizes are checked against the file's own before anything of a tensor is read.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadSource(f"{path.name} has {size:,} bytes, more than the {MAX_FILE_BYTES:,} that a student may have")
    content = memoryview(path.read_bytes())
    place = 0

    def read(form: str) -> tuple[int, ...]:
        nonlocal place
        place += struct.calcsize(form)
        if place > size:
            raise BadSource(f"{path.name} ends in its header: it is truncated or no model of Marian")
        return struct.unpack_from(form, content, place - struct.calcsize(form))

    version, count = read("<QQ")
    if version != VERSION:
        raise BadSource(f"{path.name} is of version {version} of Marian's format, not {VERSION}, or no model of Marian")
    if count > MAX_TENSORS:
        raise BadSource(f"{path.name} names {count:,} tensors, more than the {MAX_TENSORS:,} that a student may have")
    heads = [read("<4Q") for _ in range(count)]
    if any(head[0] > MAX_NAME_BYTES or head[2] > MAX_DIMENSIONS for head in heads):
        raise BadSource(f"{path.name} has a tensor with an impossible name or shape: it is damaged")
    names = [printable(bytes(read(f"<{head[0]}s")[0]).rstrip(b"\0").decode(errors="replace")) for head in heads]
    shapes = [read(f"<{head[2]}i") for head in heads]
    (padding,) = read("<Q")
    place += padding
    if place + sum(head[3] for head in heads) > size:
        raise BadSource(f"{path.name} ends before its tensors do: it is truncated")
    for name, (_, kind, _, length), shape in zip(names, heads, shapes, strict=True):
        stored, place = content[place : place + length], place + length
        if name == SETTINGS:
            yield name, bytes(stored[:MAX_SETTINGS_BYTES])
        elif not NOT_READ.fullmatch(name):
            yield name, _values(path, name, kind, shape, stored)


def _values(path: Path, name: str, kind: int, shape: tuple[int, ...], stored: memoryview) -> Floats:
    if kind not in (FLOAT32, INTGEMM8):
        raise BadSource(f"{path.name}: {name} is of type {kind:#x}; float32 and intgemm8 are read")
    count = int(np.prod(shape, dtype=object))
    needed = 4 * count if kind == FLOAT32 else count + 4
    if len(shape) != 2 or min(shape) < 1 or needed > len(stored):
        raise BadSource(f"{path.name}: {name} has the shape {shape} and {len(stored):,} bytes, which do not agree")
    # A row of a table is a token; other matrices are stored transposed in 8 bits.
    is_turned = name not in TABLES and name != OUTPUT_BIAS
    if kind == FLOAT32:
        values = np.frombuffer(stored, "<f4", count).reshape(shape)
        values = values.T if is_turned and min(shape) > 1 else values
    else:
        (multiplier,) = np.frombuffer(stored, "<f4", 1, count)
        integers = np.frombuffer(stored, np.int8, count).reshape(shape[::-1] if is_turned else shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = integers.astype(np.float32) / multiplier
    if not np.isfinite(values).all():
        raise BadSource(f"{path.name}: {name} has values that are no numbers: it is damaged")
    return np.ascontiguousarray(values)


def _settings(path: Path, text: Floats | bytes | None) -> dict[str, Any]:
    """Returns the training's settings, checked for what is computed here."""
    import yaml

    content = bytes(text or b"").rstrip(b"\0")
    try:
        # Aliases of aliases stand for more than memory holds. Training writes none.
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
    for name, values in tensors.items():
        if name in TABLES:
            yield TABLES[name], values
        elif name == OUTPUT_BIAS:
            yield "final_logits_bias", values
        elif (match := LAYER.fullmatch(name)) and (module := _module(match[3], match[4])):
            is_vector = "norm" in module or module.endswith("bias")
            yield f"model.{match[1]}.layers.{int(match[2]) - 1}.{module}", values.reshape(-1) if is_vector else values
        else:
            raise BadSource(f"{path.name} is no Marian student: it has a tensor {name}")


def _activation_scales(path: Path, multipliers: Mapping[str, Any]) -> dict[str, float]:
    """Returns the scale of each matrix's inputs, by the matrix's module."""
    for name, values in multipliers.items():
        if values.size != 1 or values.min() <= 0:
            raise BadSource(f"{path.name}: {name}{MULTIPLIER} is no multiplier: it is damaged")
    return {module.removesuffix(".weight"): 1 / float(values.item()) for module, values in _renamed(path, multipliers)}


def _module(part: str, name: str) -> str | None:
    modules, norm = PARTS[part]
    if match := NORM.fullmatch(name):
        return f"{norm}.{'weight' if match[1] == 'scale' else 'bias'}"
    if name in modules:
        return f"{modules[name]}.weight"
    weight = f"W{name.removeprefix('b')}"
    return f"{modules[weight]}.bias" if name.startswith("b") and weight in modules else None


def _configuration(path: Path, settings: Mapping[str, Any], weights: Mapping[str, Floats]) -> dict[str, Any]:
    found = partial(_tensor, path, weights)
    is_shared = TABLES["Wemb"] in weights
    targets = found(TABLES["Wemb"] if is_shared else TABLES["decoder_Wemb"])
    layers = {
        stack: 1
        + max((int(name.split(".")[3]) for name in weights if name.startswith(f"model.{stack}.layers.")), default=-1)
        for stack in ("encoder", "decoder")
    }
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
    name = path.name.split(".")[1]
    if pair := re.fullmatch("([a-z]{2})([a-z]{2})", name) or re.fullmatch("(.+)-to-(.+)", name):
        config |= {"source_lang": pair[1], "target_lang": pair[2]}
    return config


def _check_shapes(path: Path, config: Mapping[str, Any], weights: Mapping[str, Floats]) -> None:
    """Checks that there is each tensor of such a model, in its shape, and no other."""
    import torch

    from slimseq.inference.models.marian_student_module import MarianStudentConfig, MarianStudentModel

    with torch.device("meta"):
        expected = MarianStudentModel(MarianStudentConfig(**config)).state_dict()
    for name in weights.keys() - expected.keys():
        raise BadSource(f"{path.name} is no Marian student: it has a tensor {name}")
    for name, tensor in expected.items():
        if (shape := _tensor(path, weights, name).shape) != tensor.shape:
            shapes = f"{shape}, not {tuple(tensor.shape)}"
            raise BadSource(f"{path.name} is no Marian student: {name} has the shape {shapes}")


def _tensor(path: Path, weights: Mapping[str, Floats], name: str) -> Floats:
    if name not in weights:
        raise BadSource(f"{path.name} lacks a tensor of a Marian student: {name}")
    return weights[name]
