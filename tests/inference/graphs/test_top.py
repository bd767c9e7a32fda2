"""The best tokens and the logsumexp, which the decoder graph computes from its logits."""

import io

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from slimseq.compression.artifacts.publish import write_model
from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.external import DataFile
from slimseq.inference.graphs.tensor_names import LOG_SUM_EXP, LOG_SUM_EXP_ROWS, LOGITS, TOP, TOP_LOGITS, TOP_TOKENS
from slimseq.inference.graphs.top import add_log_sum_exp, add_top_tokens, block_size
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from tests.compression.tiny import tiny_model, tiny_tokenizer
from tests.families import Family

ROWS = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> SafetensorsReader:
    folder = tmp_path_factory.mktemp("top")
    write_model(tiny_model(Family.T5, tiny_tokenizer(Family.T5, folder)), folder / "model")
    return SafetensorsReader(folder / "model")


def session(weights: SafetensorsReader, vocabulary: int) -> ort.InferenceSession:
    """Returns a graph of these two alone, with logits as an input."""
    builder = GraphBuilder("top", weights, DataFile(io.BytesIO()))
    builder.input(LOGITS, ["rows", vocabulary], TensorProto.FLOAT)
    builder.input(TOP, [1])
    builder.input(LOG_SUM_EXP_ROWS, [1])
    add_top_tokens(builder, vocabulary)
    add_log_sum_exp(builder)
    builder.output(TOP_LOGITS, ["rows", "top"])
    builder.output(TOP_TOKENS, ["rows", "top"], TensorProto.INT64)
    builder.output(LOG_SUM_EXP, ["normalised", 1])
    return ort.InferenceSession(builder.model().SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("vocabulary", "size"), [(50, None), (8000, 32), (640, 32), (5000, 40), (32128, 64), (50265, 45), (96103, None)]
)
def test_the_vocabulary_is_split_into_equal_blocks_where_it_can_be(vocabulary: int, size: int | None) -> None:
    assert block_size(vocabulary) == size


@pytest.mark.parametrize("vocabulary", [50, 640, 8000])
# 34 is what the most beams ask for: more than there are blocks of 640 tokens.
@pytest.mark.parametrize("top", [1, 10, 34])
def test_the_best_are_those_of_the_whole_vocabulary(weights: SafetensorsReader, vocabulary: int, top: int) -> None:
    logits = np.random.default_rng(0).normal(size=(ROWS, vocabulary)).astype(np.float32)
    # Row 0 has its best tokens in one block. Row 1 has its best logit twice: the first token counts.
    logits[0, 40:48] += 10
    logits[1, [7, 45]] = 20

    feeds = {LOGITS: logits, TOP: np.array([top]), LOG_SUM_EXP_ROWS: np.array([ROWS])}
    outputs = [TOP_LOGITS, TOP_TOKENS, LOG_SUM_EXP]
    top_logits, top_tokens, log_sum_exp = session(weights, vocabulary).run(outputs, feeds)

    expected_tokens = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    assert (top_tokens == expected_tokens).all()
    assert (top_logits == np.take_along_axis(logits, expected_tokens, axis=1)).all()
    expected_log_sum_exp = np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    assert np.abs(log_sum_exp - expected_log_sum_exp).max() < 1e-5


def test_without_need_there_is_no_logsumexp(weights: SafetensorsReader) -> None:
    feeds = {LOGITS: np.zeros((ROWS, 640), np.float32), TOP: np.array([1]), LOG_SUM_EXP_ROWS: np.array([0])}

    assert session(weights, 640).run([LOG_SUM_EXP], feeds)[0].shape == (0, 1)
