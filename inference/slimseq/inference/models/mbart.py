"""mBART and mBART-50: BART with norms before each part and a token for each language.

Liu et al. 2020, https://arxiv.org/abs/2001.08210.
"""

import re

from slimseq.inference.models.bart import Bart


class MBart(Bart):
    """mBART. Language tokens are such as `en_XX`."""

    model_type = "mbart"
    title = "mBART"
    is_pre_norm = True
    language_token = re.compile(r"([a-z]{2,3})_[A-Z]{2}")
