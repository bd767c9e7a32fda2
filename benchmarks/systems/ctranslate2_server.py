"""`python -m benchmarks.systems.ctranslate2_server`: the server that one would write instead of Slimseq.

Requests that wait while all workers are busy and that have the same options are a batch: CTranslate2's documentation
recommends this, and no server of static batches does better. The port is `SLIMSEQ_PORT`.
"""

import asyncio
import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.systems.peer_systems import ComputeType, ctranslate2
from benchmarks.systems.place import Place
from slimseq.evaluation.fastest import Layout
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task

# Maximum number of texts in a batch.
MAX_BATCH = 32


class GenerateRequest(GenerationOptions, extra="ignore"):
    text: str


@dataclass(frozen=True, eq=False)
class Waiting:
    """The ids of a text that waits for a batch. `output` gets the ids of its output."""

    ids: list[int]
    options: GenerationOptions
    output: "Future[list[int]]" = field(default_factory=Future)


def main(original: Path, folder: Path, compute_type: ComputeType, threads: int, prefix: str, max_tokens: int) -> None:
    """Serves the model of a folder with safetensors and tokenizer, from CTranslate2's files in another folder."""
    place = Place(folder, original, Task.TRANSLATION)
    run_batch = ctranslate2(compute_type, place, Layout(threads, 1), has_parts=False)
    tokenizer, workers = Tokenizer(original), ThreadPoolExecutor(threads)
    waiting: list[Waiting] = []
    lock = threading.Lock()

    def run_next_batch() -> None:
        """Runs the oldest text that waits, and those behind it that have the same options."""
        with lock:
            batch = [text for text in waiting if text.options == waiting[0].options][:MAX_BATCH]
            waiting[:] = [text for text in waiting if text not in batch]
        # The text that this call was for may have been in the batch of an earlier call.
        if not batch:
            return
        try:
            outputs = run_batch([text.ids for text in batch], batch[0].options)
            for text, ids in zip(batch, outputs, strict=True):
                text.output.set_result(ids)
        except Exception as error:
            for text in batch:
                text.output.set_exception(error)

    async def generate(request: GenerateRequest) -> dict[str, Any]:
        encoding = tokenizer.encode(prefix + request.text, max_tokens)
        text = Waiting(list(encoding.ids), GenerationOptions(**request.model_dump(exclude={"text"})))
        with lock:
            waiting.append(text)
        workers.submit(run_next_batch)
        ids = await asyncio.wrap_future(text.output)
        return {"outputs": [{"text": tokenizer.decode(ids), "output_tokens": len(ids)}]}

    app = FastAPI()
    app.get("/healthz")(lambda: {"status": "ok"})
    app.post("/generate")(generate)
    uvicorn.run(app, port=int(os.environ["SLIMSEQ_PORT"]), log_level="warning")


if __name__ == "__main__":
    original, folder, compute_type, threads, prefix, max_tokens = sys.argv[1:]
    main(Path(original), Path(folder), compute_type, int(threads), prefix, int(max_tokens))  # type: ignore[arg-type]
