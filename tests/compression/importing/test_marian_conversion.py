"""Marian students as Firefox has them are imported: token ids equal those of plain NumPy, and bad files are named."""

import re
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions, SchemeName
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.load import load
from slimseq.inference.models.marian_student import POSITIONS
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_import
from tests.inference.engine.company import in_company
from tests.marian_students import (
    Oracle,
    read_bin,
    real_candidates,
    real_folder,
    tiny_folder,
    tiny_tensors,
    write_bin,
    write_shortlist,
)

TASK = Task.TRANSLATION
# Maximum number of tokens to generate.
LIMIT = 60
ENGLISH = (Path(__file__).parent / "english.txt").read_text(encoding="utf-8").splitlines()
PORTUGUESE = (Path(__file__).parent / "portuguese.txt").read_text(encoding="utf-8").splitlines()


def imported(folder: Path, source: Path, task: Task = TASK, *, shortlist: bool = True) -> Context:
    return tiny_import(folder, source, task, max_new_tokens=LIMIT, shortlist=shortlist)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return imported(tmp_path_factory.mktemp("real"), real_folder("enpt"))


def assert_translates_as(oracle: Oracle, context: Context, texts: list[str], task: Task = TASK) -> None:
    with open_generator(context.store, task, "original", "onnxruntime", threads=1) as generator:
        rows = [generator.encode(text).ids for text in texts]
        found = generator.runtime.generate(rows, generator.manifest.generation.options())

    assert rows == [oracle.ids(text) for text in texts]
    assert [each.ids for each in found] == [oracle.translate(text, LIMIT) for text in texts]


@pytest.mark.parametrize(("pair", "texts"), [("enpt", ENGLISH), ("pten", PORTUGUESE)], ids=["enpt", "pten"])
def test_a_real_student_gives_the_token_ids_of_its_equations(tmp_path: Path, pair: str, texts: list[str]) -> None:
    context = imported(tmp_path, real_folder(pair), shortlist=False)

    manifest = context.store.manifest(TASK, "original")
    assert manifest.languages == [pair[:2], pair[2:]]
    assert manifest.family == "marian-student"
    assert_translates_as(Oracle(real_folder(pair), heads=8), context, texts)


def test_a_real_student_chooses_among_the_candidates_of_its_shortlist(real: Context) -> None:
    texts = ENGLISH[:8]

    rows, found = encoded_and_generated(real, "original", texts)

    candidates = [real_candidates("enpt", row) for row in rows]
    oracle = Oracle(real_folder("enpt"), heads=8)
    assert found == [oracle.translate(text, LIMIT, own) for text, own in zip(texts, candidates, strict=True)]


def test_a_quantized_student_chooses_among_the_candidates_of_its_shortlist(real: Context) -> None:
    if "int8" not in real.store.variants(TASK):
        quantize(real, TASK, "original", "int8")

    rows, found = encoded_and_generated(real, "int8", ENGLISH[:8])

    for row, ids in zip(rows, found, strict=True):
        assert set(ids) <= set(real_candidates("enpt", row))


def encoded_and_generated(context: Context, variant: str, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Returns the token ids of texts, and the token ids of their translations."""
    with open_generator(context.store, TASK, variant, "onnxruntime", threads=1) as generator:
        rows = [list(generator.encode(text).ids) for text in texts]
        found = generator.runtime.generate(rows, generator.manifest.generation.options())
        return rows, [list(each.ids) for each in found]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The tensors of the real student's file, by Marian's names."""
    [path] = real_folder("enpt").glob("model.*.bin")
    return dict(read_bin(path))


def quantized_graphs(context: Context, scheme: SchemeName) -> list[onnx.GraphProto]:
    """Returns the graphs of the decoder and the encoder of the student, quantized with a scheme."""
    if scheme not in context.store.variants(TASK):
        quantize(context, TASK, "original", scheme, QuantizeOptions(scheme, reduce_range=False))
    folder = context.store.folder(TASK, scheme) / "onnx"
    return [onnx.load(folder / name).graph for name in ("decoder.onnx", "encoder.onnx")]


def tensors_of(graphs: list[onnx.GraphProto]) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for graph in graphs for tensor in graph.initializer}


def test_imported_weights_are_bit_for_bit_what_was_published(real: Context, published: dict[str, Any]) -> None:
    weights = SafetensorsReader(real.store.folder(TASK, "original"))

    # Marian's matrices are (inputs, outputs), and those of a model folder (outputs, inputs).
    matrix = np.ascontiguousarray(published["decoder_l2_rnn_Wf"].T)
    assert weights.read("model.decoder.layers.1.cell.forget.weight").tobytes() == matrix.tobytes()
    assert weights.read("model.shared.weight").tobytes() == published["Wemb"].tobytes()


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-published"])
def test_quantization_finds_the_published_integers(
    real: Context, published: dict[str, Any], scheme: SchemeName
) -> None:
    tensors = tensors_of(quantized_graphs(real, scheme))

    matrix = published["decoder_l2_rnn_Wf"]
    # The smallest weight that is not zero is one step.
    step = np.abs(matrix[matrix != 0]).min()
    [found] = [values for name, values in tensors.items() if "layers.1.cell.forget.weight.transposed_q" in name]
    assert np.array_equal(found, np.rint(matrix / step))


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-published"])
def test_the_embedding_and_the_positions_are_stored_once_for_both_graphs(
    real: Context, published: dict[str, Any], scheme: SchemeName
) -> None:
    quantized_graphs(real, scheme)

    stored = real.store.folder(TASK, scheme) / "onnx" / "embedding.data"
    width = published["Wemb"].shape[1]
    embedding_bytes = published["Wemb"].size
    positions_bytes = 4 * POSITIONS * width
    assert stored.stat().st_size == embedding_bytes + positions_bytes


def test_the_scheme_int8_published_uses_the_published_activation_scales(
    real: Context, published: dict[str, Any]
) -> None:
    graphs = quantized_graphs(real, "int8-published")

    tensors = tensors_of(graphs)
    nodes = [node for graph in graphs for node in graph.node if node.op_type == "QuantizeLinear"]
    multipliers = [values.item() for name, values in published.items() if name.endswith("_QuantMultA")]
    assert {tensors[node.input[1]].item() for node in nodes} == {np.float32(1 / each) for each in multipliers}


def test_a_variant_that_was_changed_has_no_published_scales(tmp_path: Path) -> None:
    context = imported(tmp_path, tiny_folder(tmp_path / "source", is_int8=True))
    quantize(context, TASK, "original", "half", QuantizeOptions("bf16"))

    with pytest.raises(BadParameters, match=r"needs the activation scales .* translation/half has none for model\."):
        quantize(context, TASK, "half", "int8", QuantizeOptions("int8-published"))


def test_readme_shows_what_the_int8_variant_answers(real: Context) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    _, _, section = readme.partition("## Use a real model")
    asked = re.findall(r'"text": "(.*?)"', section)[0]
    answered = re.findall(r'It answers "(.*?)"', section)[0]

    if "int8" not in real.store.variants(TASK):
        quantize(real, TASK, "original", name="int8")

    with load(real.store.folder(TASK, "int8")) as model:
        [output] = model.generate([asked])
    assert output.text == answered
    assert not output.warnings


@dataclass(frozen=True)
class Student:
    """A tiny student: the folder as Firefox would have it, and the store with its import and an int8 variant."""

    source: Path
    context: Context
    task: Task

    @property
    def oracle(self) -> Oracle:
        return Oracle(self.source, heads=4)

    def open(self, variant: str, runtime: str) -> AbstractContextManager[TextGenerator]:
        return open_generator(self.context.store, self.task, variant, runtime, threads=1)


STUDENTS = {
    "joint vocabulary, float32": (1, False, TASK),
    "joint vocabulary, int8": (1, True, Task.SUMMARIZATION),
    "two vocabularies, float32": (2, False, Task.SUMMARIZATION),
    "two vocabularies, int8": (2, True, TASK),
}
TEXTS = [text for text, _ in SENTENCES]


@pytest.fixture(scope="module", params=STUDENTS.values(), ids=list(STUDENTS))
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Student:
    sides, is_int8, task = request.param
    folder = tmp_path_factory.mktemp("student")
    source = tiny_folder(folder / "source", sides=sides, is_int8=is_int8)
    context = imported(folder, source, task)
    quantize(context, task, "original", options=QuantizeOptions(reduce_range=False))
    return Student(source, context, task)


def test_a_tiny_student_gives_the_token_ids_of_its_equations(student: Student) -> None:
    assert_translates_as(student.oracle, student.context, TEXTS, student.task)


def test_the_text_of_an_output_is_what_sentencepiece_decodes(student: Student) -> None:
    ids = student.oracle.translate(TEXTS[0], LIMIT)

    with student.open("original", "onnxruntime") as generator:
        text = generator.output(generator.encode(TEXTS[0]), GeneratedSequence(ids, "length")).text

    # Ids 0 and 1 are special tokens.
    pieces = [each for each in ids if each > 1]
    assert text == student.oracle.target.decode(pieces).strip()


@pytest.mark.parametrize("beams", [1, 2, 5, 8])
def test_onnxruntime_generates_what_torch_generates(student: Student, beams: int) -> None:
    with student.open("original", "onnxruntime") as ours, student.open("original", "torch") as reference:
        rows = [ours.encode(text).ids for text in TEXTS[:8]]
        options = ours.manifest.generation.options(num_beams=beams, max_new_tokens=12)
        found = ours.runtime.generate(rows, options)
        wanted = reference.runtime.generate(rows, options)

    assert found == wanted
    assert len({tuple(each.ids) for each in found}) > 1, "all outputs are the same, so the test shows little"


@pytest.mark.parametrize("beams", [1, 2, 5, 8])
@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_an_output_does_not_depend_on_the_other_texts(student: Student, variant: str, beams: int) -> None:
    with student.open(variant, "onnxruntime") as generator:
        rows = [generator.encode(text).ids for text in TEXTS[:8]]
        options = generator.manifest.generation.options(num_beams=beams, max_new_tokens=12)
        alone = [generator.runtime.generate([row], options)[0].ids for row in rows]
        together = [each.ids for each in generator.runtime.generate(rows, options)]
        engine = generator.engine()
        assert engine is not None
        arriving_at_random = [each.ids for each in in_company(engine, rows, [options] * len(rows))]

    assert together == alone
    assert arriving_at_random == alone


# What damages the folder of a tiny student, by the path of its model.
Damage = Callable[[Path], object]
MODEL, VOCABULARY, LEX = "model.ende.intgemm.alphas.bin", "vocab.ende.spm", "lex.ende.s2t.bin"


def written(tokens: int = 120, **options: Any) -> Damage:
    """Writes the model anew, with another number of tokens or other options of `write_bin`."""
    return lambda path: write_bin(path, tiny_tensors([tokens]), **options)


def changed(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Changes the tensors before they are written."""

    def write(path: Path) -> None:
        tensors = dict(tiny_tensors([120]))
        change(tensors)
        write_bin(path, tensors)

    return write


def overwritten(place: int, value: int) -> Damage:
    """Overwrites a uint64 at a place of the model's file.

    The number of tensors is at 8. The first tensor has the bytes of its name at 16, its type at 24, and the bytes of
    its data at 40.
    """
    return damaged(lambda content: content[:place] + struct.pack("<Q", value) + content[place + 8 :])


def damaged(change: Callable[[bytes], bytes], name: str = MODEL) -> Damage:
    return lambda path: path.with_name(name).write_bytes(change(path.with_name(name).read_bytes()))


def shaped(*shape: int) -> Damage:
    """Writes another shape for the first tensor, whose shape is (120, 32), and leaves its data as it is."""

    def write(path: Path) -> None:
        written()(path)
        path.write_bytes(path.read_bytes().replace(struct.pack("<2i", 120, 32), struct.pack("<2i", *shape), 1))

    return write


def enlarged(name: str, size: int) -> Damage:
    def write(path: Path) -> None:
        with path.with_name(name).open("ab") as file:
            # The file has holes, and takes no space on the disk.
            file.truncate(size)

    return write


def listed(rows: int = 0, token: int = 0, change: Callable[[bytes], bytes] = bytes, **changes: Any) -> Damage:
    """Writes a shortlist with a target token for each row, then changes its bytes; 0 rows are those of the model."""

    def write(path: Path) -> None:
        write_shortlist(path.with_name(LEX), [[token]] * (rows or len(read_bin(path)["Wemb"])), **changes)
        damaged(change, LEX)(path)

    return write


def falling(path: Path) -> None:
    """Writes a shortlist whose second offset is above the third."""
    tokens = len(read_bin(path)["Wemb"])
    listed(offsets=[0, 2**63, *range(2, tokens + 1)])(path)


def swapped(*names: str) -> Damage:
    def write(path: Path) -> None:
        first, second = (path.with_name(name) for name in names)
        first.rename(path.with_name("other"))
        second.rename(first)
        path.with_name("other").rename(second)

    return write


def of_two_sides(write: Damage) -> Damage:
    def rewrite(path: Path) -> None:
        shutil.rmtree(path.parent)
        tiny_folder(path.parent, sides=2)
        write(path)

    return rewrite


def respelled(change: Callable[[Any], object]) -> Damage:
    """Changes the SentencePiece model of the vocabulary."""

    def respell(content: bytes) -> bytes:
        sentencepiece_model: Any = import_module("sentencepiece.sentencepiece_model_pb2")
        model = sentencepiece_model.ModelProto.FromString(content)
        change(model)
        return bytes(model.SerializeToString())

    return damaged(respell, VOCABULARY)


# Each alias stands for nine of the one before it.
GROWING = "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 10)), "type: *a9"])
BAD: dict[str, tuple[Damage, str]] = {
    "another version": (written(version=7), "is of version 7 of Marian's format, not 1"),
    "no model": (damaged(lambda _: b"PK\3\4" * 50), "or no model of Marian"),
    "empty": (damaged(lambda _: b""), "ends in its header"),
    "truncated": (damaged(lambda content: content[:-300]), "ends before its tensors do"),
    "truncated early": (damaged(lambda content: content[:900]), "ends in its header"),
    "many tensors": (overwritten(8, 2**40), "tensors, more than the 10,000"),
    "a long name": (overwritten(16, 2**40), "an impossible name or shape"),
    "an unknown type": (overwritten(24, 0x999), "Wemb is of type 0x999"),
    "a billion rows": (shaped(10**9, 32), r"has the shape \(1000000000, 32\) and 15,360 bytes, which do not agree"),
    "a billion rows and their bytes": (overwritten(40, 128 * 10**9), "ends before its tensors do"),
    "more bytes than there are numbers": (overwritten(40, 2**64 - 1), "ends before its tensors do"),
    "rows below none": (shaped(-120, -32), r"Wemb has the shape \(-120, -32\)"),
    "no rows": (shaped(0, 32), r"Wemb has the shape \(0, 32\)"),
    "oversized": (enlarged(MODEL, 2**30 + 1), "it is sparse: 1,073,741,825 bytes"),
    "an oversized vocabulary": (
        enlarged(VOCABULARY, 2**33),
        "it has 8,589,934,592 bytes, and such a file has at most 134,217,728",
    ),
    "model and vocabulary swapped": (swapped(MODEL, VOCABULARY), "or no model of Marian"),
    "vocabularies swapped": (
        of_two_sides(swapped("srcvocab.ende.spm", "trgvocab.ende.spm")),
        r"has \d+ tokens and srcvocab.ende.spm \d+: they are of two models",
    ),
    "one vocabulary of two": (
        of_two_sides(lambda path: path.with_name("trgvocab.ende.spm").unlink()),
        "has srcvocab.ende.spm and not that of the other side",
    ),
    "two models": (
        lambda path: path.with_name("model.deen.bin").write_bytes(path.read_bytes()),
        r"must have one model\.\*\.bin; it has model.deen.bin, model.ende.intgemm.alphas.bin",
    ),
    "a name of two lines": (changed(lambda each: each.update({"a\nb": each["Wemb"]})), r"has a tensor a\\nb"),
    "a missing tensor": (changed(lambda each: each.pop("decoder_l2_rnn_Wf")), r"lacks .*layers\.1\.cell\.forget"),
    "a part of another model": (
        changed(lambda each: each.update(decoder_l1_self_Wk=each["Wemb"])),
        r"has a tensor model\.decoder\.layers\.0\.self_attn",
    ),
    "an unknown tensor": (changed(lambda each: each.update(alignment=each["Wemb"])), "has a tensor alignment"),
    "another shape": (
        changed(lambda each: each.update(encoder_l1_self_Wk=each["Wemb"])),
        r"\(32, 120\), not \(32, 32\)",
    ),
    "no multiplier": (
        changed(lambda each: each.update(encoder_l1_self_Wk_QuantMultA=np.zeros((1, 1), np.float32))),
        "encoder_l1_self_Wk_QuantMultA is no multiplier",
    ),
    "no numbers": (changed(lambda each: each.update(Wemb=each["Wemb"] * np.float32(np.nan))), "that are no numbers"),
    "no settings": (written(settings="- 1"), "has no special:model.yml"),
    "broken settings": (written(settings="a: [1"), "special:model.yml cannot be read"),
    "deep settings": (written(settings="a: " + "[" * 9999 + "]" * 9999), "special:model.yml cannot be"),
    "an impossible date": (written(settings="a: 2001-99-99"), "special:model.yml cannot be read"),
    "settings that grow": (written(settings=GROWING), "its type is 'full of aliases'"),
    "a transformer": (written(settings="dec-cell: gru"), "its dec-cell is 'gru', not 'ssru'"),
    "no heads": (written(settings="dec-cell: ssru"), "None heads"),
    "a vocabulary of another model": (written(99), r"has 99 tokens and vocab\.ende\.spm \d+: they are of two models"),
    "a broken vocabulary": (damaged(lambda _: b"none", VOCABULARY), r"vocab\.ende\.spm cannot be read"),
    "a truncated vocabulary": (damaged(lambda content: content[:-20], VOCABULARY), r"vocab\.ende\.spm"),
    "an empty vocabulary": (damaged(lambda _: b"", VOCABULARY), "its first token must be </s>"),
    "pieces twice": (respelled(lambda model: model.pieces.add(piece=model.pieces[5].piece)), "is no vocabulary of a"),
    "a damaged normalizer": (
        respelled(lambda model: setattr(model.normalizer_spec, "precompiled_charsmap", b"\xff" * 9)),
        "vocab.ende.spm makes no tokenizer",
    ),
    "scores that are no numbers": (
        respelled(lambda model: setattr(model.pieces[5], "score", float("nan"))),
        "vocab.ende.spm makes no tokenizer",
    ),
    "another kind of vocabulary": (respelled(lambda model: setattr(model.trainer_spec, "model_type", 2)), "no unigram"),
    "a shortlist of another model": (
        listed(99),
        r"lex.ende.s2t.bin is no shortlist .* 99 source tokens, and the model",
    ),
    "a shortlist beyond the vocabulary": (listed(token=9999), r"names target token 9,999 and the first 2, and the"),
    "many first tokens": (listed(first=2**40), "and the first 1,099,511,627,776, and the model has"),
    "offsets that fall": (falling, "its offsets do not rise from 0 to its"),
    "other magic": (listed(magic=1), r"lex.ende.s2t.bin is no shortlist, or its size is not"),
    "more ids than bytes": (listed(count=2**62), "its size is not what its header says"),
    "a truncated shortlist": (listed(change=lambda content: content[:-1]), "its size is not what its header says"),
    "an empty shortlist": (listed(change=lambda _: b""), "is no shortlist, or its size"),
    "an oversized shortlist": (enlarged(LEX, 2**27 + 1), "it is sparse: 134,217,729 bytes"),
    "no vocabulary": (lambda path: path.with_name(VOCABULARY).unlink(), r"must have one vocab\.\*\.spm; it has none"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_file_is_refused_in_one_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write, words = BAD[name]
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    source = tiny_folder(tmp_path / "source")
    write(source / MODEL)

    with pytest.raises(BadSource, match=words) as found:
        imported(tmp_path, source)

    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 400
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("*.*"))
