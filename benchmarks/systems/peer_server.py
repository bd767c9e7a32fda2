"""`python -m benchmarks.systems.peer_server`: a server that one would write instead of Slimseq, with one of the peers.

With one worker and batches of one text it is transformers behind FastAPI as most people write it. With more, requests
that wait while all workers are busy and that have the same options are a batch: CTranslate2's documentation recommends
this, and no server of static batches does better. The port is `SLIMSEQ_PORT`.
"""

import argparse
import asyncio
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.systems.peer_systems import SERVED, Place
from slimseq.evaluation.fastest import Layout
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task


class GenerateRequest(GenerationOptions):
    """A text and the options of its generation, in the form of Slimseq's requests."""

    text: str


@dataclass(frozen=True, eq=False)
class Waiting:
    """The ids of a text that waits for a batch. `output` gets the ids of its output."""

    ids: list[int]
    options: GenerationOptions
    output: "Future[list[int]]" = field(default_factory=Future)


def main() -> None:
    """Serves until a signal stops it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.systems.peer_server", description=__doc__)
    parser.add_argument("system", choices=list(SERVED))
    parser.add_argument("original", type=Path, help="folder with safetensors and tokenizer")
    parser.add_argument("folder", type=Path, help="for the files of the system")
    parser.add_argument("--workers", type=int, required=True, help="batches at a time")
    parser.add_argument("--threads", type=int, required=True, help="of each worker")
    parser.add_argument("--batch", type=int, required=True, help="most texts of a batch")
    parser.add_argument("--prefix", default="", help="put before each text")
    parser.add_argument("--max-input-tokens", type=int, required=True, help="longer texts are truncated")
    given = parser.parse_args()
    place = Place(given.folder, given.original, Task.TRANSLATION)
    run_batch = SERVED[given.system](place, Layout(given.workers, given.threads))
    tokenizer, workers = Tokenizer(given.original), ThreadPoolExecutor(given.workers)
    waiting: list[Waiting] = []
    lock = threading.Lock()

    def work() -> None:
        with lock:
            batch = [each for each in waiting if each.options == waiting[0].options][: given.batch]
            waiting[:] = [each for each in waiting if each not in batch]
        # The text that this call was for may be in the batch of an earlier call.
        if batch:
            try:
                outputs = run_batch([each.ids for each in batch], batch[0].options)
                for each, ids in zip(batch, outputs, strict=True):
                    each.output.set_result(ids)
            except Exception as error:
                for each in batch:
                    each.output.set_exception(error)

    async def generate(request: GenerateRequest) -> dict[str, Any]:
        encoding = tokenizer.encode(given.prefix + request.text, given.max_input_tokens)
        each = Waiting(list(encoding.ids), GenerationOptions(**request.model_dump(exclude={"text"})))
        with lock:
            waiting.append(each)
        workers.submit(work)
        ids = await asyncio.wrap_future(each.output)
        return {"outputs": [{"text": tokenizer.decode(ids), "output_tokens": len(ids)}]}

    app = FastAPI()
    app.get("/healthz")(lambda: {"status": "ok"})
    app.post("/generate")(generate)
    uvicorn.run(app, port=int(os.environ["SLIMSEQ_PORT"]), log_level="warning")


if __name__ == "__main__":
    main()
