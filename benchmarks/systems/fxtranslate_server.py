"""`python -m benchmarks.systems.fxtranslate_server`: FastAPI around fxtranslate, as one would begin.

fxtranslate (https://pypi.org/project/fxtranslate) runs Firefox's own files with 8-bit kernels and a shortlist, one
sentence at a time. A translator belongs to one thread and holds the interpreter, so each worker is a process. The port
is `SLIMSEQ_PORT`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fxtranslate import Translator
from tokenizers import Tokenizer

from benchmarks.systems.plain_server import Body


def make_app() -> FastAPI:
    """Returns the application of one worker: a model of Firefox, and a tokenizer that counts the tokens of answers."""
    files, artifact = map(Path, sys.argv[1:3])

    def read(*patterns: str) -> bytes | None:
        return next((path.read_bytes() for pattern in patterns for path in files.glob(pattern)), None)

    vocabularies = read("srcvocab.*.spm", "vocab.*.spm"), read("trgvocab.*.spm", "vocab.*.spm")
    translator = Translator(read("model.*.bin"), *vocabularies, read("lex.*.bin"))
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    app = FastAPI()
    app.get("/healthz")(lambda: {"status": "ok"})

    @app.post("/translate")
    async def translate(body: Body) -> dict[str, Any]:
        text = translator.translate_long(body.text)
        return {"outputs": [{"text": text, "output_tokens": len(tokenizer.encode(text).ids)}]}

    return app


if __name__ == "__main__":
    application, port = "benchmarks.systems.fxtranslate_server:make_app", int(os.environ["SLIMSEQ_PORT"])
    uvicorn.run(application, factory=True, workers=int(sys.argv[3]), port=port, log_level="warning")
