"""Models and data sets for the local hub (`hub.py`), as the recipes for the Hugging Face hub read them.

A model has the configuration of the hub's model and random weights. With a smaller `width` it has a fraction of the
parameters, but all layers and heads, which are what a recipe removes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from tests.compression.tiny import SENTENCES, tiny_tokenizer
from tests.families import Family

SPLITS = ("train", "validation", "test")


def t5_small(width: int = 512, vocabulary: int = 32128) -> Any:
    """`google-t5/t5-small`: 6+6 layers, width 512, 8 heads, 32,128 tokens."""
    from transformers import T5Config, T5ForConditionalGeneration

    sizes: dict[str, Any] = {"d_model": width, "d_kv": width // 8, "d_ff": 4 * width, "num_layers": 6, "num_heads": 8}
    return T5ForConditionalGeneration(T5Config(**sizes | {"vocab_size": vocabulary, "decoder_start_token_id": 0}))


def bart_base(width: int = 768, vocabulary: int = 50265) -> Any:
    """`facebook/bart-base`: 6+6 layers, width 768, 12 heads, 50,265 tokens, 1,024 positions."""
    from transformers import BartConfig, BartForConditionalGeneration

    sizes: dict[str, Any] = {"d_model": width, "vocab_size": vocabulary, "max_position_embeddings": 1024}
    for stack in ("encoder", "decoder"):
        sizes |= {f"{stack}_layers": 6, f"{stack}_attention_heads": 12, f"{stack}_ffn_dim": 4 * width}
    return BartForConditionalGeneration(BartConfig(**sizes))


def write_hub_model(model: Any, family: Family, folder: Path, scratch: Path) -> Path:
    """Writes a model with a small tokenizer as a hub has it; returns the folder."""
    write_model(model, folder)
    copy_tokenizer(tiny_tokenizer(family, scratch), folder)
    return folder


def write_cnn_dailymail(folder: Path, rows: int) -> Path:
    """Writes `abisee/cnn_dailymail` with a few made-up articles, other ones in each split; returns the folder."""
    english = [english for english, _ in SENTENCES]
    articles = []
    for start in range(rows * len(SPLITS)):
        # Each article has all sentences, from another one on.
        article = " ".join([*english[start:], *english[:start]])
        articles.append({"article": article, "highlights": f"{english[start]}\n", "id": str(start)})
    return _write_dataset(folder, "3.0.0", articles)


def write_wmt14(folder: Path, rows: int) -> Path:
    """Writes `wmt/wmt14` with a few pairs, other ones in each split; returns the folder."""
    chosen = SENTENCES[: rows * len(SPLITS)]
    pairs = [{"translation": {"de": german, "en": english}} for english, german in chosen]
    return _write_dataset(folder, "de-en", pairs)


def _write_dataset(folder: Path, configuration: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes Parquet files, and the card that says which file is which split."""
    import pyarrow
    import pyarrow.parquet

    (folder / configuration).mkdir(parents=True)
    for number, split in enumerate(SPLITS):
        # The splits take turns at the rows.
        table = pyarrow.Table.from_pylist(list(rows[number :: len(SPLITS)]))
        pyarrow.parquet.write_table(table, folder / configuration / f"{split}-00000-of-00001.parquet")
    files = "".join(f"  - split: {split}\n    path: {configuration}/{split}-*\n" for split in SPLITS)
    card = f"---\nconfigs:\n- config_name: {configuration}\n  data_files:\n{files}---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder
