"""Streams of tokens: their pieces add up to the answer, and a client that leaves ends its generation."""

import json
import re
import socket
import time
from collections import defaultdict

import pytest

from tests.service.client import Response, Service, eventually

TEXTS = [
    "Good morning. How are you today?\n\nThe children are playing in the garden. A dog is barking.\n",
    "The train leaves at half past six.",
]


def streamed(answer: Response) -> list[str]:
    """Joins the pieces of a stream: the text of each output."""
    texts: dict[int, str] = defaultdict(str)
    for name, data in answer.events[:-1]:
        assert name == "token"
        texts[data["index"]] += data["text"]
    return [texts[index] for index in sorted(texts)]


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("path", ["/translate", "/summarize"])
def test_the_pieces_add_up_to_the_final_answer(service: Service, path: str, beams: int) -> None:
    answer = service.post(path, {"text": TEXTS, "num_beams": beams, "stream": True})

    name, last = answer.events[-1]
    assert answer.status == 200
    assert name == "done"
    assert streamed(answer) == [output["text"] for output in last["outputs"]]
    plain = service.post(path, {"text": TEXTS, "num_beams": beams}).json
    assert [output["text"] for output in last["outputs"]] == [output["text"] for output in plain["outputs"]]


@pytest.mark.parametrize(("beams", "tokens"), [(1, 2), (4, 4)])
def test_pieces_come_token_by_token_and_while_beams_still_search(service: Service, beams: int, tokens: int) -> None:
    answer = service.post("/translate", {"text": TEXTS[1], "num_beams": beams, "stream": True})

    _, last = answer.events[-1]
    assert len(answer.events) > last["outputs"][0]["output_tokens"] // tokens


QUEUED = re.compile(r'slimseq_queue_rows{task="translation",variant="quantized"} ([\d.]+)')


def queued_rows(service: Service) -> float:
    found = QUEUED.search(service.get("/metrics").text)
    return float(found[1]) if found else 0


# The service pauses reading a body of more than 64 KiB that comes after its headers. 36 sentences make such a body.
@pytest.mark.parametrize(("is_streaming", "sentences"), [(False, 12), (True, 12), (False, 36)])
def test_a_client_that_leaves_stops_its_generation(service: Service, is_streaming: bool, sentences: int) -> None:
    texts = ["The old man walks along the river. " * sentences] * 60
    body = json.dumps({"text": texts, "num_beams": 4, "stream": is_streaming}).encode()
    head = (
        f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode())
        time.sleep(0.2)
        connection.sendall(body)
        assert eventually(lambda: queued_rows(service) > 100)

    assert eventually(lambda: queued_rows(service) == 0, seconds=3)
    started = time.monotonic()
    answer = service.post("/translate", {"text": "Good morning."})

    assert answer.status == 200
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("beams", [1, 4])
def test_a_stop_is_neither_streamed_nor_answered(service: Service, beams: int) -> None:
    body = {"text": "The children are playing in the garden.", "num_beams": beams, "stop": [" im Garten", "never"]}

    events = service.post("/translate?variant=original", {**body, "stream": True}).events
    answer = service.post("/translate?variant=original", body).json["outputs"][0]

    assert "".join(data["text"] for name, data in events if name == "token") == "Die Kinder spielen"
    assert events[-1][1]["outputs"][0] == answer
    assert (answer["text"], answer["finish_reason"]) == ("Die Kinder spielen", "stop")
