"""PEGASUS: BART with norms before each part, sinusoidal positions and no norm of embeddings.

Zhang et al. 2020, https://arxiv.org/abs/1912.08777.
"""

from slimseq.inference.models.bart import Bart


class Pegasus(Bart):
    model_type = "pegasus"
    title = "PEGASUS"
    is_pre_norm = True
    has_embedding_norm = False
    has_sinusoidal_positions = True
    position_offset = 0
    tokenizer = "unigram"
    special_tokens = ("<pad>", "</s>", "<unk>")
    decoder_start = "<pad>"
