"""What the hub recipes find on a hub: models of the hub's configurations, random weights, and small data sets.

A narrow model has the layers and heads of the hub's, which are what a recipe removes, in a hundredth of its parameters.
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
    """Writes `abisee/cnn_dailymail` with a few made articles, other ones in each split; returns the folder."""
    english = [english for english, _ in SENTENCES]
    made = []
    for start in range(rows * len(SPLITS)):
        article = " ".join([*english[start:], *english[:start]])
        made.append({"article": article, "highlights": f"{english[start]}\n", "id": str(start)})
    return _write_dataset(folder, "3.0.0", made)


def write_wmt14(folder: Path, rows: int) -> Path:
    """Writes `wmt/wmt14` with a few pairs, other ones in each split; returns the folder."""
    pairs = [{"translation": {"de": de, "en": en}} for en, de in SENTENCES[: rows * len(SPLITS)]]
    return _write_dataset(folder, "de-en", pairs)


def _write_dataset(folder: Path, configuration: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    (folder / configuration).mkdir(parents=True)
    for place, split in enumerate(SPLITS):
        table = pyarrow.Table.from_pylist(list(rows[place :: len(SPLITS)]))
        pyarrow.parquet.write_table(table, folder / configuration / f"{split}-00000-of-00001.parquet")
    files = "".join(f"  - split: {split}\n    path: {configuration}/{split}-*\n" for split in SPLITS)
    card = f"---\nconfigs:\n- config_name: {configuration}\n  data_files:\n{files}---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder
