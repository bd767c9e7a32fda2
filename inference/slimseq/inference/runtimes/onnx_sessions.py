"""The base class of the runtimes on ONNX Runtime: an artifact's two sessions and its configuration."""

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

    def close(self) -> None:
        del self._encoder, self._decoder
