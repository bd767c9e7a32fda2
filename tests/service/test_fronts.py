"""`GET /variants` shows what `compress` found, while variants are removed and the file is damaged."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimseq.models_store.fronts import FRONTS, add_front
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.hand_made_fronts import front_of, structures
from tests.service.client import Service
from tests.service.conftest import running_service


def fronts_once(service: Service, is_so: Callable[[Any], bool]) -> Any:
    """Returns the fronts as soon as they are as wanted. The service reads its store again after a second."""
    deadline = time.monotonic() + 20
    while True:
        found = service.get("/variants").json["fronts"]
        if is_so(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_the_front_of_a_run_is_shown_as_far_as_the_store_has_it(own_store: Store, log: Path) -> None:
    root = own_store.root
    original, quantized = (own_store.manifest(Task.TRANSLATION, name) for name in ("original", "quantized"))
    removed = quantized.model_copy(update={"variant": "removed-since"})
    front = front_of(original, [quantized, removed], "quantized", structures=structures(2))
    with running_service(log, store=root) as service:
        before = service.get("/variants").json["fronts"]
        add_front(root, Task.TRANSLATION, front)
        [shown] = fronts_once(service, lambda found: len(found) == 1)
        shutil.rmtree(root / "translation" / "quantized")
        without_variants = fronts_once(service, lambda found: not found)

    assert before == without_variants == []
    assert (shown["task"], shown["original"], shown["chosen"]) == ("translation", "original", "quantized")
    assert (shown["keep"], shown["is_agreement"], shown["samples"]) == (0.97, False, 250)
    [variant] = shown["variants"]
    assert variant == front.variants[0].model_dump(mode="json")
    assert len(shown["structures"]) == 6


def test_a_damaged_file_of_fronts_is_one_line_of_the_log_and_everything_serves(own_store: Store, log: Path) -> None:
    (own_store.root / "translation" / FRONTS).write_text("{", encoding="utf-8")
    with running_service(log, store=own_store.root) as service:
        listed = service.get("/variants")
        time.sleep(1.2)
        again = service.get("/variants")
        served = service.post("/translate", {"text": "Good morning."})

    assert (listed.status, again.status, served.status) == (200, 200, 200)
    assert listed.json["fronts"] == again.json["fronts"] == []
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if FRONTS in line]
    assert len(lines) == 1
