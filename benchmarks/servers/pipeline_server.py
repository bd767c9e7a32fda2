"""`python -m benchmarks.servers.pipeline_server`: transformers behind FastAPI, as most people write it.

Routes run in the default thread pool; `model.generate` runs under a lock, one request at a time, in float32.
"""

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from benchmarks.servers.schema import GenerateRequest, GenerateResponse, Output


def create_app(folder: Path, prefix: str, max_input_tokens: int) -> FastAPI:
    """Loads a model folder and returns the application that generates with it.

    Args:
        folder: a Hugging Face folder.
        prefix: put before each text.
        max_input_tokens: how much of a text is read.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    lock = threading.Lock()
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the model is loaded."""
        return {"status": "ok"}

    @app.post("/generate")
    def generate(request: GenerateRequest) -> GenerateResponse:
        """Generate from one text."""
        inputs = tokenizer(prefix + request.text, return_tensors="pt", truncation=True, max_length=max_input_tokens)
        inputs.pop("token_type_ids", None)
        with lock, torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, **request.model_dump(exclude={"text"}))[0]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        # The first id is the decoder's start token.
        return GenerateResponse(outputs=[Output(text=text, output_tokens=len(ids) - 1)])

    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers.pipeline_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--max-input-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0, help="of one generation; 0 lets torch choose")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    app = create_app(given.model, given.prefix, given.max_input_tokens)
    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
