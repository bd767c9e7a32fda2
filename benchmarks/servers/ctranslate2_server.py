"""`python -m benchmarks.servers.ctranslate2_server`: CTranslate2 behind FastAPI, with its asynchronous calls.

Requests that wait while all of the library's workers are busy, and have the same settings, go into one batch: this is
what the library recommends, and the best that a server of static batches does.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ctranslate2
import uvicorn
from fastapi import FastAPI
from tokenizers import Tokenizer

from benchmarks.servers import GenerateRequest, GenerateResponse, Output, server_parser

# Finished hypotheses a beam before a search without early stopping ends, as Slimseq's own CTranslate2 runtime has it.
PATIENCE = 3.0


@dataclass(frozen=True, eq=False)
class Waiting:
    """One text that waits for a batch: its tokens, its settings, and who wants the output's tokens."""

    tokens: list[str]
    settings: dict[str, Any]
    output: "asyncio.Future[list[str]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batches:
    """Keeps the library's workers busy with batches of what waits. Used from the event loop alone.

    Args:
        translator: the library's, open.
        target_prefix: tokens that every output begins with.
        workers: how many batches the translator runs at once.
        max_batch_size: the most texts of one batch.
    """

    def __init__(self, translator: Any, target_prefix: list[str] | None, workers: int, max_batch_size: int) -> None:
        self._translator = translator
        self._target_prefix = target_prefix
        self._free = workers
        self._max_batch_size = max_batch_size
        self._waiting: list[Waiting] = []
        self._running: set[asyncio.Task[None]] = set()

    async def translate(self, tokens: list[str], settings: dict[str, Any]) -> list[str]:
        """Returns the tokens that a text becomes, the end token included."""
        waiting = Waiting(tokens, settings)
        self._waiting.append(waiting)
        self._fill()
        return await waiting.output

    def _fill(self) -> None:
        while self._free and self._waiting:
            settings = self._waiting[0].settings
            batch = [each for each in self._waiting if each.settings == settings][: self._max_batch_size]
            self._waiting = [each for each in self._waiting if each not in batch]
            self._free -= 1
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[Waiting]) -> None:
        try:
            results = self._translator.translate_batch(
                [each.tokens for each in batch],
                target_prefix=[self._target_prefix] * len(batch) if self._target_prefix else None,
                max_batch_size=self._max_batch_size,
                max_input_length=0,
                return_end_token=True,
                asynchronous=True,
                **batch[0].settings,
            )
            # `AsyncTranslationResult.result` blocks.
            outputs = await asyncio.to_thread(lambda: [result.result().hypotheses[0] for result in results])
            for each, tokens in zip(batch, outputs, strict=True):
                if not each.output.done():
                    each.output.set_result(tokens)
        except Exception as error:
            for each in batch:
                if not each.output.done():
                    each.output.set_exception(error)
        finally:
            self._free += 1
            self._fill()


def settings_of(request: GenerateRequest) -> dict[str, Any]:
    """Returns a request's settings by the library's names."""
    return {
        "beam_size": request.num_beams,
        "patience": 1.0 if request.early_stopping or request.num_beams == 1 else PATIENCE,
        "length_penalty": request.length_penalty,
        "no_repeat_ngram_size": request.no_repeat_ngram_size,
        "min_decoding_length": request.min_new_tokens,
        "max_decoding_length": request.max_new_tokens,
    }


def main() -> None:
    """Serves until it is stopped."""
    parser = server_parser("ctranslate2_server", __doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the Hugging Face folder that it was made from")
    parser.add_argument("--compute-type", choices=["int8", "float32"], default="float32")
    parser.add_argument("--workers", type=int, required=True, help="batches that run at once, on one thread each")
    parser.add_argument("--max-batch-size", type=int, required=True)
    given = parser.parse_args()
    translator = ctranslate2.Translator(
        str(given.model), compute_type=given.compute_type, inter_threads=given.workers, intra_threads=1
    )
    tokens = json.loads((given.model / "shared_vocabulary.json").read_text(encoding="utf-8"))
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    forced = json.loads((given.tokenizer / "config.json").read_text(encoding="utf-8")).get("forced_bos_token_id")
    batches = Batches(translator, None if forced is None else [tokens[forced]], given.workers, given.max_batch_size)
    tokenizer = Tokenizer.from_file(str(given.tokenizer / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(given.max_input_tokens)
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/generate")
    async def generate(request: GenerateRequest) -> GenerateResponse:
        source = [tokens[token_id] for token_id in tokenizer.encode(given.prefix + request.text).ids]
        written = [ids[token] for token in await batches.translate(source, settings_of(request))]
        output = Output(text=tokenizer.decode(written, skip_special_tokens=True), output_tokens=len(written))
        return GenerateResponse(outputs=[output])

    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
