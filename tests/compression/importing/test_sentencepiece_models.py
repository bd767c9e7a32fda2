"""A model that comes with a SentencePiece model alone gets a `tokenizer.json` that cuts texts as that does."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer

from slimseq.compression.artifacts.publish import write_model
from slimseq.models_store.manifest import Task
from tests.compression.language_models import trained
from tests.compression.tiny import SENTENCES, tiny_import
from tests.inference.models.test_pretrained import FAMILIES

TEXTS = [*(text for pair in SENTENCES for text in pair), "A \ufb01ne \uff26\uff55\uff4c\uff4c width\u2026"]
SPECIALS: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
# Family, its file, the class that its configuration names, and the ids that SentencePiece gives to its special pieces.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "T5": ("spiece.model", "T5Tokenizer", SPECIALS),
    "mT5": ("spiece.model", "T5Tokenizer", SPECIALS),
    "PEGASUS": ("spiece.model", "PegasusTokenizer", SPECIALS),
    "mBART": ("sentencepiece.bpe.model", "MBartTokenizer", {}),
}


@pytest.mark.parametrize("name", list(KINDS))
def test_pieces_are_those_of_sentencepiece(tmp_path: Path, name: str) -> None:
    file_name, tokenizer_class, ids = KINDS[name]
    kind, configuration, switches = FAMILIES[name]
    specials: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1} if ids else {}
    folder = tmp_path / "model"
    write_model(kind(configuration(**(switches | specials | {"vocab_size": 400, "decoder_start_token_id": 0}))), folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class, "src_lang": "en_XX"}))
    (folder / file_name).write_bytes(trained(TEXTS, vocab_size=250, hard_vocab_limit=False, **ids))
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / file_name))

    context = tiny_import(tmp_path, folder, languages=["en", "de"], max_input_tokens=30, max_new_tokens=20)

    made = Tokenizer.from_file(str(context.store.folder(Task.TRANSLATION, "original") / "tokenizer.json"))
    for text in TEXTS:
        assert made.encode(text, add_special_tokens=False).tokens == own.encode(text, out_type=str)
