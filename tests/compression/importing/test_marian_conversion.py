"""Marian students as Firefox has them are imported: token ids equal those of plain NumPy, and bad files are named."""

import re
import shutil
import struct
import tempfile
from collections.abc import Callable
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
from slimseq.inference.generator import open_generator
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
    assert manifest.languages == [pair[:2], pair[2:]] and manifest.family == "marian-student"
    assert_translates_as(Oracle(real_folder(pair), heads=8), context, texts)


def test_a_real_student_chooses_among_the_candidates_of_its_shortlist(real: Context) -> None:
    oracle, texts = Oracle(real_folder("enpt"), heads=8), ENGLISH[:8]
    quantize(real, TASK, "original", "int8")

    for variant in ("original", "int8"):
        with open_generator(real.store, TASK, variant, "onnxruntime", threads=1) as generator:
            rows, options = [generator.encode(text).ids for text in texts], generator.manifest.generation.options()
            found = [each.ids for each in generator.runtime.generate(rows, options)]
        candidates = [real_candidates("enpt", row) for row in rows]
        assert all({*ids} <= {*own} for ids, own in zip(found, candidates, strict=True))
        if variant == "original":
            limits = zip(texts, candidates, strict=True)
            assert found == [oracle.translate(text, LIMIT, own) for text, own in limits]


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-published"])
def test_weights_are_what_was_published_and_quantization_finds_the_same_integers(
    real: Context, scheme: SchemeName
) -> None:
    [path] = real_folder("enpt").glob("model.*.bin")
    published, weights = read_bin(path), SafetensorsReader(real.store.folder(TASK, "original"))
    expected = published["decoder_l2_rnn_Wf"]

    quantize(real, TASK, "original", scheme, QuantizeOptions(scheme, reduce_range=False))

    stored = weights.read("model.decoder.layers.1.cell.forget.weight")
    assert stored.tobytes() == np.ascontiguousarray(expected.T).tobytes()
    assert weights.read("model.shared.weight").tobytes() == published["Wemb"].tobytes()
    folder = real.store.folder(TASK, scheme) / "onnx"
    graphs = [onnx.load(folder / name).graph for name in ("decoder.onnx", "encoder.onnx")]
    tensors = {each.name: numpy_helper.to_array(each) for graph in graphs for each in graph.initializer}
    found = next(values for name, values in tensors.items() if "layers.1.cell.forget.weight.transposed_q" in name)
    step = np.abs(expected[expected != 0]).min()
    assert (found == np.rint(expected / step)).all()
    # Sinusoidal positions of both graphs are stored once, as the embedding is.
    assert (folder / "embedding.data").stat().st_size == published["Wemb"].size + 4 * POSITIONS * 256
    if scheme == "int8-published":
        scales = {
            tensors[node.input[1]].item() for graph in graphs for node in graph.node if node.op_type == "QuantizeLinear"
        }
        multipliers = [values.item() for name, values in published.items() if name.endswith("_QuantMultA")]
        assert scales == {np.float32(1 / multiplier) for multiplier in multipliers}


def test_a_variant_that_was_changed_has_no_published_scales(tmp_path: Path) -> None:
    context = imported(tmp_path, tiny_folder(tmp_path / "source", is_int8=True))
    quantize(context, TASK, "original", "half", QuantizeOptions("bf16"))

    with pytest.raises(BadParameters, match=r"needs the activation scales .* translation/half has none for model\."):
        quantize(context, TASK, "half", "int8", QuantizeOptions("int8-published"))


def test_readme_shows_what_the_int8_variant_answers(real: Context) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8").partition("## Use a real model")[2]
    asked, answered = re.findall(r'"text": "(.*?)"', readme)[0], re.findall(r'It answers "(.*?)"', readme)[0]

    if "int8" not in real.store.variants(TASK):
        quantize(real, TASK, "original", name="int8")

    with load(real.store.folder(TASK, "int8")) as model:
        [output] = model.generate([asked])
    assert output.text == answered and not output.warnings


@pytest.mark.parametrize(
    ("sides", "is_int8", "task"),
    [(1, False, TASK), (1, True, Task.SUMMARIZATION), (2, False, Task.SUMMARIZATION), (2, True, TASK)],
)
def test_students_of_other_shapes_and_vocabularies_are_read(
    tmp_path: Path, sides: int, is_int8: bool, task: Task
) -> None:
    source = tiny_folder(tmp_path / "source", sides=sides, is_int8=is_int8)
    context, texts = imported(tmp_path, source, task), [text for text, _ in SENTENCES]
    oracle = Oracle(source, heads=4)

    quantize(context, task, "original", options=QuantizeOptions(reduce_range=False))

    assert_translates_as(oracle, context, texts, task)
    with (
        open_generator(context.store, task, "original", "onnxruntime", threads=1) as ours,
        open_generator(context.store, task, "original", "torch", threads=1) as reference,
        open_generator(context.store, task, "quantized", threads=1) as quantized,
    ):
        rows = [ours.encode(text).ids for text in texts[:8]]
        for beams in (1, 2, 5, 8):
            options = ours.manifest.generation.options(num_beams=beams, max_new_tokens=12)
            found = ours.runtime.generate(rows, options)
            assert found == reference.runtime.generate(rows, options)
            assert len({tuple(each.ids) for each in found}) > 1
            for each in (ours, quantized):
                together = each.runtime.generate(rows, options)
                assert [each.runtime.generate([row], options)[0].ids for row in rows] == [one.ids for one in together]
                engine = each.engine()
                assert engine is not None
                company = in_company(engine, rows, [options] * len(rows))
                assert [one.ids for one in company] == [one.ids for one in together]
        ids = oracle.translate(texts[0], LIMIT)
        text = ours.output(ours.encode(texts[0]), GeneratedSequence(ids, "length")).text
        assert text == oracle.target.decode([each for each in ids if each > 1]).strip()


# What damages the folder of a tiny student, by the path of its model.
Damage = Callable[[Path], object]
MODEL, VOCABULARY, LEX = "model.ende.intgemm.alphas.bin", "vocab.ende.spm", "lex.ende.s2t.bin"


def written(tokens: int = 120, **options: Any) -> Damage:
    return lambda path: write_bin(path, tiny_tensors([tokens]), **options)


def changed(change: Callable[[dict[str, Any]], object]) -> Damage:
    def write(path: Path) -> None:
        tensors = dict(tiny_tensors([120]))
        change(tensors)
        write_bin(path, tensors)

    return write


def overwritten(place: int, value: int) -> Damage:
    return damaged(lambda content: content[:place] + struct.pack("<Q", value) + content[place + 8 :])


def damaged(change: Callable[[bytes], bytes], name: str = MODEL) -> Damage:
    return lambda path: path.with_name(name).write_bytes(change(path.with_name(name).read_bytes()))


def shaped(*shape: int) -> Damage:
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

    assert "\n" not in str(found.value) and len(str(found.value)) < 400
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("*.*"))
