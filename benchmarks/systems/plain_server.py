"""`python -m benchmarks.systems.plain_server`: FastAPI and CTranslate2 in twelve lines, as one would begin.

It reads the same CTranslate2 files as the service, and does nothing with a text but translate it. Without a folder it
translates nothing: then `POST /unit`, which takes a pydantic body and does nothing, is the unit in which
`benchmarks.serving` expresses the CPU time of an event loop. The port is `SLIMSEQ_PORT`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import ctranslate2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

app = FastAPI()


class Body(BaseModel):
    """A text, and the options that CTranslate2 has too."""

    text: str
    num_beams: int = 1
    length_penalty: float = 1.0
    min_new_tokens: int = 1
    max_new_tokens: int = 256


def serve_translations(folder: Path, workers: int) -> None:
    """Adds `POST /translate` with an artifact that has CTranslate2's format."""
    translator = ctranslate2.Translator(str(folder / "ctranslate2"), inter_threads=workers, intra_threads=1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = json.loads((folder / "ctranslate2" / "shared_vocabulary.json").read_text(encoding="utf-8"))
    ids = {token: token_id for token_id, token in enumerate(tokens)}

    @app.post("/translate")
    def translate(body: Body) -> dict[str, Any]:
        lengths = {"min_decoding_length": body.min_new_tokens, "max_decoding_length": body.max_new_tokens}
        search = {"beam_size": body.num_beams, "length_penalty": body.length_penalty, **lengths}
        source = [tokens[token_id] for token_id in tokenizer.encode(body.text).ids]
        output = translator.translate_batch([source], **search)[0].hypotheses[0]
        text = tokenizer.decode([ids[token] for token in output])
        return {"outputs": [{"text": text, "output_tokens": len(output)}]}


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/unit")
async def unit(body: Body) -> dict[str, Any]:
    return {"outputs": [{"text": body.text, "output_tokens": 0}]}


if __name__ == "__main__":
    if sys.argv[1:]:
        serve_translations(Path(sys.argv[1]), int(sys.argv[2]))
    uvicorn.run(app, port=int(os.environ["SLIMSEQ_PORT"]), log_level="warning")
