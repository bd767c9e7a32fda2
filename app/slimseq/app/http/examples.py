"""Examples in the OpenAPI document: bodies by the name of their schema, and parameters by their name.

Tests post each body to a running service.
"""

from typing import Any

SENTENCE = "The children are playing in the garden."
ARTICLE = (
    "A fire broke out in a warehouse in the city of Leeds on Monday. Firefighters from three stations fought the "
    "flames for six hours. Nobody was hurt, police said, and the cause is being investigated."
)
DIGEST = "sha256:7427bd427d2ec34bec71e0fe505b9ec65aa9f0e1a10828c9a457da1c98156e86"

RESPONSE = "t~~~GqTqEF9cIxZH~quantized~7427bd427d2e.awuAwQ.U-SOuSWAjHN9kC1uPVIRzMUROezpQunppDilxNIKuz0"

PARAMETERS: dict[str, Any] = {"task": "translation", "variant": "quantized"}

SCHEMAS: dict[str, list[Any]] = {
    "SummarizeRequest": [
        {"text": ARTICLE},
        {"text": [ARTICLE], "num_beams": 1, "max_new_tokens": 32, "long_input": "map_reduce"},
    ],
    "TranslateRequest": [
        {"text": SENTENCE},
        {"text": [SENTENCE, "It is raining."], "source": "en", "target": "de", "num_beams": 1},
        {"text": SENTENCE, "num_beams": 1, "do_sample": True, "temperature": 0.8, "seed": 7, "stream": True},
        {"text": "<p>The <b>new phone</b> costs $1,299.99.</p>", "format": "html"},
    ],
    "CompareRequest": [{"text": SENTENCE}],
    "LibreTranslateRequest": [
        {"q": SENTENCE, "source": "en", "target": "de"},
        {"q": "<p>It is <b>raining</b>.</p>", "source": "auto", "target": "de", "format": "html"},
    ],
    "TranslationInput": [{"inputs": SENTENCE, "parameters": {"src_lang": "en", "tgt_lang": "de", "num_beams": 1}}],
    "SummarizationInput": [{"inputs": ARTICLE, "parameters": {"max_new_tokens": 32}}],
    "DetectRequest": [{"q": "Die Kinder spielen im Garten."}],
    "EvaluationRequest": [
        {"task": "translation", "variants": ["original", "quantized"], "dataset": "sample", "samples": 8},
        {
            "task": "translation",
            "variants": ["original", "quantized"],
            "dataset": "sample",
            "samples": 16,
            "gate": {"retention": 0.5},
        },
        {"task": "translation", "variants": ["quantized"], "latency": {"batch": 4, "texts": 4, "repeats": 1}},
        {
            "task": "summarization",
            "variants": ["quantized"],
            "pairs": [{"document": ARTICLE, "summary": "A warehouse in Leeds burned for six hours."}],
        },
    ],
    "ExperimentRequest": [
        {
            "task": "translation",
            "name": "Is pruned good enough?",
            "arms": [{"variant": "quantized", "weight": 3}, {"variant": "pruned", "weight": 1}],
            "margin": 0.02,
        }
    ],
    "FeedbackRequest": [
        {"response": RESPONSE, "rating": 1},
        {"comparison": RESPONSE, "preferred": "quantized"},
        {"comparison": RESPONSE, "preferred": None},
    ],
    "GenerationResponse": [
        {
            "id": RESPONSE,
            "task": "translation",
            "variant": "quantized",
            "digest": DIGEST,
            "runtime": "onnxruntime",
            "outputs": [
                {
                    "text": "Die Kinder spielen im Garten.",
                    "finish_reason": "eos",
                    "input_tokens": 10,
                    "output_tokens": 8,
                    "truncated": False,
                }
            ],
            "timings": {"queue_ms": 0.098, "inference_ms": 11.176, "total_ms": 11.767},
        }
    ],
    "LibreTranslateResponse": [{"translatedText": "Die Kinder spielen im Garten."}],
    "LibreTranslateError": [{"error": "fr is not supported"}],
    "Problem": [
        {
            "type": "/problems/unknown-variant",
            "title": "Unknown variant",
            "status": 404,
            "detail": "translation has no variant 'tiny'; it has original, compact, distilled, pruned, quantized",
            "request_id": "8f38a6232c5e47afb4be2d451103dd3e",
        }
    ],
}
