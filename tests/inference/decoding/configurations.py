"""The configuration of searches that get their logits from a test, without a model."""

from slimseq.inference.models.configuration import ModelConfiguration

EOS, START = 1, 2


def plain_configuration(vocabulary: int) -> ModelConfiguration:
    """Returns a configuration without forced tokens and without a limit of positions."""
    return ModelConfiguration(
        vocabulary=vocabulary,
        decoder_layers=1,
        pad_id=0,
        eos_id=EOS,
        decoder_start_id=START,
        forced_bos_id=None,
        forced_eos_id=None,
        max_positions=None,
    )
