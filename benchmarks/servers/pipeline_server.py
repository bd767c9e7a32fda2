"""`python -m benchmarks.servers.pipeline_server`: transformers behind FastAPI, as most people write it.

Routes run in the default thread pool; `model.generate` runs under a lock, one request at a time, in float32.
"""

import threading
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from benchmarks.servers import GenerateRequest, GenerateResponse, Output, server_parser


def main() -> None:
    """Serves until it is stopped."""
    parser = server_parser("pipeline_server", __doc__)
    parser.add_argument("--threads", type=int, required=True, help="of one generation")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(given.model)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(given.model, dtype=torch.float32).eval()
    lock = threading.Lock()
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/generate")
    def generate(request: GenerateRequest) -> GenerateResponse:
        text = given.prefix + request.text
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=given.max_input_tokens)
        inputs.pop("token_type_ids", None)
        with lock, torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, **request.model_dump(exclude={"text"}))[0]
        # The first id is the decoder's start token.
        output = Output(text=tokenizer.decode(ids, skip_special_tokens=True), output_tokens=len(ids) - 1)
        return GenerateResponse(outputs=[output])

    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
