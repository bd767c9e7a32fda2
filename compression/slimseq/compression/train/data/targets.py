"""Encodes training targets, which differ from sources in two families.

An mBART adds the language token of the target. A Marian splits targets into other pieces of its vocabulary.
"""

from slimseq.inference.models.configuration import read_json
from slimseq.inference.tokenizer import TARGET_TOKENIZER, Encoding, Tokenizer

# What transformers calls the language tokens of an mBART's tokenizer.
SOURCE_KEY, TARGET_KEY = "src_lang", "tgt_lang"


class TargetTokenizer:
    """The tokenizer of an artifact's targets, given that of its sources, which most families use for both."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        folder = tokenizer.folder
        has_own = (folder / TARGET_TOKENIZER).exists()
        self._tokenizer = Tokenizer(folder, TARGET_TOKENIZER) if has_own else tokenizer
        config = folder / "tokenizer_config.json"
        said = read_json(config) if config.exists() else {}
        languages = [said.get(key) for key in (SOURCE_KEY, TARGET_KEY)]
        source, target = (tokenizer.id_of(token) if token else None for token in languages)
        self._changes = {} if source is None or target is None else {source: target}

    def encode(self, text: str, max_tokens: int) -> Encoding:
        """Encodes a target, as `Tokenizer.encode` does a source."""
        encoding = self._tokenizer.encode(text, max_tokens)
        if not self._changes:
            return encoding
        return Encoding([self._changes.get(token, token) for token in encoding.ids], encoding.full_length)
