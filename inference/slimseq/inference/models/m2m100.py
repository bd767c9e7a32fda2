"""M2M100 and NLLB: BART with norms before each part, sinusoidal positions and a token for each of 100 to 202 languages.

Fan et al. 2020, https://arxiv.org/abs/2010.11125; NLLB: Costa-jussà et al. 2022, https://arxiv.org/abs/2207.04672.
"""

import re
from types import MappingProxyType

from slimseq.inference.models.bart import Bart
from slimseq.inference.models.family import tensor2tensor_positions
from slimseq.inference.models.safetensors_reader import Floats


class M2M100(Bart):
    """M2M100 and NLLB. Language tokens are such as `__fr__` and `fra_Latn`."""

    model_type = "m2m_100"
    title = "M2M100 and NLLB"
    artifact_family = "m2m100"
    defaults = MappingProxyType({**Bart.defaults, "activation_function": "relu", "scale_embedding": True})
    output_bias = ""
    is_pre_norm = True
    has_embedding_norm = False
    has_sinusoidal_positions = True
    stores_positions = False
    tokenizer = "unigram"
    language_token = re.compile(r"(?:__)?([a-z]{2,3})(?:__|_[A-Z][a-z]{3})")
    begins_with_language = True

    def sinusoidal_positions(self, positions: int, width: int) -> Floats:
        """Returns positions from the third on. fairseq leaves out two, up to the position of the padding token."""
        return tensor2tensor_positions(positions + 2, width)[2:]
