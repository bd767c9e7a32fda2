"""The base class of the runtimes on ONNX Runtime: an artifact's two sessions and its configuration."""

from collections.abc import Sequence

import onnxruntime as ort

from slimseq.inference.models.configuration import ModelConfiguration


class OnnxSessions:
    name = "onnxruntime"

    def __init__(
        self, encoder: ort.InferenceSession, decoder: ort.InferenceSession, configuration: ModelConfiguration
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._configuration = configuration

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        """Says nothing: graphs that optimum traced have no forced pass."""
        return [()] * len(rows)

    def close(self) -> None:
        del self._encoder, self._decoder
