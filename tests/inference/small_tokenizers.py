"""Small tokenizers of each kind of vocabulary, by the letters beyond ASCII that they have."""

from string import ascii_letters, digits, punctuation

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

# The sign that stands for a space in tokens of SentencePiece.
SPACE = "\u2581"
ASCII = ascii_letters + digits + punctuation


def with_unknown(letters: str) -> Tokenizer:
    """Returns a tokenizer as Firefox's models have it: what it lacks is one unknown token."""
    scores = [("<unk>", 0.0), (SPACE, -1.0), *((letter, -2.0) for letter in ASCII + letters)]
    return _with_spaces(Tokenizer(models.Unigram(scores, unk_id=0)))


def with_byte_fallback(letters: str) -> Tokenizer:
    """Returns a tokenizer that has bytes for what it lacks."""
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    scores = [("<unk>", 0.0), (SPACE, -1.0), *((token, -2.0) for token in (*single, *ASCII, *letters))]
    fast = _with_spaces(Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True)))
    fast.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return fast


def without_unknown(letters: str) -> Tokenizer:
    """Returns a tokenizer that drops what it lacks."""
    vocabulary = {token: number for number, token in enumerate((SPACE, *ASCII, *letters))}
    return _with_spaces(Tokenizer(models.BPE(vocabulary, [])))


def of_bytes(letters: str) -> Tokenizer:
    """Returns a tokenizer like BART's: all is made of bytes, and the letters of its training have tokens."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer, fast.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + len(letters), initial_alphabet=alphabet)
    fast.train_from_iterator([letter for letter in letters for _ in range(9)], trainer)
    return fast


def _with_spaces(fast: Tokenizer) -> Tokenizer:
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer, fast.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return fast


KINDS = [with_unknown, with_byte_fallback, without_unknown, of_bytes]
