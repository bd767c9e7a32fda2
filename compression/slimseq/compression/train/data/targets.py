"""Encodes training targets, which differ from sources in some families.

mBART, M2M100 and NLLB mark them with another language token. A Marian splits them into other pieces of its vocabulary.
"""

from slimseq.inference.models.configuration import read_json
from slimseq.inference.tokenizer import TARGET_TOKENIZER, Tokenizer

# What transformers calls the language tokens of an mBART's tokenizer.
SOURCE_KEY, TARGET_KEY = "src_lang", "tgt_lang"


def target_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer of an artifact's targets, given that of its sources, which most families use for both."""
    folder = tokenizer.folder
    if (folder / TARGET_TOKENIZER).exists():
        return Tokenizer(folder, TARGET_TOKENIZER)
    config = folder / "tokenizer_config.json"
    said = read_json(config) if config.exists() else {}
    source, target = said.get(SOURCE_KEY), said.get(TARGET_KEY)
    return tokenizer.marked_with(target, instead_of=source) if source and target else tokenizer
