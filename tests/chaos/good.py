"""Good requests. Their answers must be the same byte for byte, whatever else the service is asked at the same time."""

from collections import defaultdict
from typing import Any, NamedTuple

from tests.service.client import Response, Service

ARTICLE = (
    "Engineers found deep cracks in two pillars of the old stone bridge over the river Arden during an inspection in "
    "March. The city council of Millbrook voted on Tuesday to close it for eight months. About 6,000 cars cross the "
    "bridge every day, and drivers will have to use the motorway crossing four miles to the north. Repairs will cost "
    "4.2 million pounds, most of which the county will pay."
)
SENTENCES = "The children are playing in the garden. It is raining. We need more time to read the long report."
# Combining marks, text from right to left, joined emoji, invisible characters, noncharacters, control characters, and
# characters outside of the basic multilingual plane.
ODD_UNICODE = (
    "Cafe\u0301 \u202eolleh\u202c \u05e9\u05dc\u05d5\u05dd. \U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "fa\u00adther\u200b \ufeff\ufdd0 \U0001d400\U0001f1e9\U0001f1ea \u0001\u009b31m z\u0351\u0352\u0353\u0354 "
    "\uff28\uff49\u3002 \u0130i\u0131I."
)
LANGUAGES = {"source": "en", "target": "de"}


class Good(NamedTuple):
    """The path of a request and its body."""

    path: str
    body: dict[str, Any]


# Both tasks, several runtimes and kinds of search, seeds, streams, comparisons and the other APIs.
REQUESTS: tuple[Good, ...] = (
    Good("/translate", {"text": SENTENCES}),
    Good("/translate?variant=original", {"text": "A man in a blue shirt is standing on a ladder.", "num_beams": 1}),
    Good("/translate?variant=compact", {"text": [SENTENCES, "Good morning."]}),
    Good("/translate", {"text": SENTENCES, "do_sample": True, "top_p": 0.9, "temperature": 0.8, "seed": 7}),
    Good("/translate?variant=quantized", {"text": SENTENCES, "stream": True}),
    Good("/translate", {"text": "# The bridge\n\n- It is **raining**.\n", "format": "markdown"}),
    Good("/summarize", {"text": ARTICLE}),
    Good("/summarize?variant=compact", {"text": ARTICLE, "num_beams": 1, "max_new_tokens": 40}),
    Good("/summarize", {"text": ARTICLE, "do_sample": True, "top_k": 20, "seed": 11, "max_new_tokens": 30}),
    Good("/translate", {"text": ODD_UNICODE}),
    Good("/summarize?variant=compact", {"text": [ODD_UNICODE, ARTICLE], "num_beams": 1, "stream": True}),
    Good("/summarize", {"text": ARTICLE * 4, "long_input": "map_reduce", "max_new_tokens": 24}),
    Good("/compare?task=translation&variant=original&variant=compact", {"text": SENTENCES, "num_beams": 2}),
    Good("/compare?task=summarization&variant=quantized&variant=compact", {"text": ARTICLE, "max_new_tokens": 24}),
    Good("/libretranslate/translate", {"q": [SENTENCES, "Good morning."], **LANGUAGES}),
    Good("/libretranslate/translate", {"q": "<p>It is <b>raining</b>.</p>", "format": "html", **LANGUAGES}),
    Good("/huggingface/translate", {"inputs": SENTENCES, "parameters": {"num_beams": 1}}),
    Good("/huggingface/summarize", {"inputs": ARTICLE, "parameters": {"max_new_tokens": 32}}),
    Good("/libretranslate/detect", {"q": "Die Kinder spielen im Garten."}),
)
# Fields that differ in each answer.
CHANGING_FIELDS = ("id", "timings", "request_id")


def content(answer: Response, body: dict[str, Any]) -> Any:
    """Returns the part of an answer that must stay the same.

    For an answer that failed, that is a string with what went wrong. The pieces of a stream are joined.
    """
    if answer.status != 200:
        return f"{answer.status}: {answer.text[:300]}"
    if body.get("stream"):
        *pieces, (name, done) = answer.events
        if name != "done":
            return f"the stream ended with {name}: {done}"
        texts: defaultdict[int, str] = defaultdict(str)
        for _, data in pieces:
            texts[data["index"]] += data["text"]
        return dict(texts), _lasting(done)
    return _lasting(answer.json)


def alone(service: Service) -> dict[int, Any]:
    """Returns the answer to each request while nothing else runs."""
    return {number: content(service.post(path, body), body) for number, (path, body) in enumerate(REQUESTS)}


def _lasting(value: Any) -> Any:
    """Returns a value without the fields that differ in each answer, at any depth."""
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in CHANGING_FIELDS}
    if isinstance(value, list):
        return [_lasting(each) for each in value]
    return value
