"""Makes a tokenizer from texts, as a folder for transformers' fast tokenizers and for the store's `Tokenizer`.

A family has a unigram vocabulary (Kudo 2018, https://arxiv.org/abs/1804.10959) or byte-level pairs (Radford et al.
2019).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from slimseq.compression.errors import BadData
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.registry import family_named
from slimseq.models_store.files import write_json

SPACE_MARK = "▁"
# Typographic characters and what a keyboard writes for them. Training texts have few of the former, but phones and word
# processors write them: without this, a translator of short training lost the "not" of "can't".
PLAIN = (
    (Regex("[\u2018\u2019\u201b\u02bc\u00b4]"), "'"),
    (Regex("[\u201c\u201d\u201e\u201f]"), '"'),
    # Em dashes without spaces, then all dashes and hyphens.
    (Regex("(?<=\\w)[\u2014\u2015](?=\\w)"), " - "),
    (Regex("[\u2010-\u2015\u2212]"), "-"),
    ("\u2026", "..."),
    # Spaces of fixed width; the soft hyphen and the space without width.
    (Regex("[\u00a0\u2000-\u200a\u202f]"), " "),
    (Regex("[\u00ad\u200b]"), ""),
    ("\ufb01", "fi"),
    ("\ufb02", "fl"),
)


def make_tokenizer(
    model_type: str, texts: Iterable[str], vocabulary: int, folder: Path, max_tokens: int, sentinels: int = 100
) -> int:
    """Makes a tokenizer and writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.

    The family of the model type determines the kind of vocabulary and the special tokens. `vocabulary` is the maximum
    number of pieces, with special tokens, without the sentinels after them; short texts give fewer.

    Returns:
        The number of ids, with sentinels.

    Raises:
        BadData: there are no texts, or they have more distinct characters than the vocabulary can have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    family = family_named(model_type)
    if family.tokenizer == "unigram":
        tokenizer, config = _unigram(family, texts, vocabulary, sentinels if family.sentinel else 0)
    else:
        tokenizer, config = _byte_pairs(family, texts, vocabulary)
        # The slow class and some converters read these two instead of tokenizer.json.
        tokenizer.model.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = [name for name in config if name.endswith("_token") or name == "additional_special_tokens"]
    write_json(folder / "special_tokens_map.json", {name: config[name] for name in names})
    write_json(
        folder / "tokenizer_config.json",
        config | {"model_max_length": max_tokens, "clean_up_tokenization_spaces": False},
    )
    return int(tokenizer.get_vocab_size(with_added_tokens=True))


def tokenizer_size(folder: Path) -> int:
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(with_added_tokens=True))


def texts_of(examples: Sequence[Example], prefix: str) -> Iterator[str]:
    """Yields the training texts of a tokenizer: sources with their prefixes, and targets."""
    for example in examples:
        yield (prefix if example.prefix is None else example.prefix) + example.source
        yield example.target


def _unigram(
    family: ModelFamily, texts: Iterable[str], vocabulary: int, sentinels: int
) -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            # News begins with "(CNN)Snow fell": a target that begins with "Snow" would have no piece in common with it.
            normalizers.Replace(Regex(r"\)(?=\p{L})"), ") "),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    # The first word gets a space too, so that it has the same pieces at the start of the target and in the source.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE_MARK, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE_MARK, prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=list(family.special_tokens), unk_token="<unk>", show_progress=False
    )
    _learn(tokenizer, texts, trainer, vocabulary)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", end)]
    )
    extra = [family.sentinel.format(number) for number in range(sentinels)]
    # Stock T5 counts them down: the last id is <extra_id_0>.
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in reversed(extra)])
    padding = "<pad>" if "<pad>" in family.special_tokens else "</s>"
    config: dict[str, Any] = {"pad_token": padding, "eos_token": "</s>", "unk_token": "<unk>"}
    if not family.sentinel:
        return tokenizer, config | {"tokenizer_class": "PreTrainedTokenizerFast"}
    return tokenizer, config | {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": sentinels,
        "additional_special_tokens": extra,
        "legacy": False,
    }


def plain_characters() -> normalizers.Normalizer:
    """Returns the normalizer that replaces typographic apostrophes, quotes, dashes and spaces by plain ones."""
    return normalizers.Sequence([normalizers.Replace(pattern, plain) for pattern, plain in PLAIN])


def _byte_pairs(family: ModelFamily, texts: Iterable[str], vocabulary: int) -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = plain_characters()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [
        AddedToken(name, lstrip=name == "<mask>", normalized=True, special=True) for name in family.special_tokens
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    _learn(tokenizer, texts, trainer, vocabulary)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", family.special_tokens.index("</s>")),
        ("<s>", family.special_tokens.index("<s>")),
        add_prefix_space=False,
    )
    return tokenizer, {
        # Transformers 5 makes a `BartTokenizer` of the vocabulary alone, without the normalizer.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": {
            "__type": "AddedToken",
            "content": "<mask>",
            "lstrip": True,
            "normalized": True,
            "rstrip": False,
            "single_word": False,
            "special": True,
        },
        "add_prefix_space": False,
    }


def _learn(tokenizer: Tokenizer, texts: Iterable[str], trainer: Any, vocabulary: int) -> None:
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:  # the library raises bare Exception for everything
        raise BadData(f"no vocabulary of {vocabulary} pieces can be made from these texts: {error}") from error
    if tokenizer.get_vocab_size() > vocabulary:
        raise BadData(f"the texts need at least {tokenizer.get_vocab_size()} pieces, more than {vocabulary}")
