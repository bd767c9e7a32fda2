"""What is done to the service from outside while it is asked: its variants, files, processes, disk and database."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.target import Target
from tests.damage import flip_bytes

# They are loaded and unloaded; no good request names them.
COMING_AND_GOING = (
    ("translation", "distilled"),
    ("summarization", "distilled"),
    ("summarization", "pruned"),
)
DAMAGED = ("translation", "pruned")
QUESTION = {"text": "Good morning."}
# How long the database may still be called unavailable after it is back: of a transaction that waited for it.
AFTERMATH_SECONDS = 10.0


class Disturbances:
    """Threads that disturb the service until the block ends. `state` is the folder of its database."""

    def __init__(self, target: Target, state: Path, seed: int, pause_seconds: float) -> None:
        self.made: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._target = target
        self._state = state
        self._has_ended = threading.Event()
        self._database_harmed = float("-inf")
        self._is_database_harmed = False
        # The first one finds out what the damaged variant says while it is whole.
        self._damaged_says = self._ask_damaged().json
        # Each with its pause, so that some evaluations live, and the database is there most of the time.
        works = {
            self._load_and_unload: pause_seconds,
            self._damage_and_repair: pause_seconds,
            self._kill_evaluation: 10 * pause_seconds,
            self._take_database_away: 5 * pause_seconds,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=(work, pause, random.Random(seed + number)), name=work.__name__)
            for number, (work, pause) in enumerate(works.items())
        ]

    def __enter__(self) -> "Disturbances":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join()

    def harmed_database_since(self, started: float) -> bool:
        """Whether the database could not be used at some time since then, or may still wait for it."""
        return self._is_database_harmed or self._database_harmed > started - AFTERMATH_SECONDS

    def load_all(self) -> None:
        for number in range(len(COMING_AND_GOING)):
            self._load(number)
        self._ask_damaged()

    def unload_all(self) -> None:
        """Unloads what is loaded only because of disturbances."""
        for task, variant in (*COMING_AND_GOING, DAMAGED):
            self._unload(task, variant)

    def _repeat(self, work: Callable[[random.Random], None], pause_seconds: float, drawn: random.Random) -> None:
        while not self._has_ended.wait(pause_seconds * (0.5 + drawn.random())):
            try:
                work(drawn)
            except (OSError, AssertionError) as error:
                self.complaints.append(f"{work.__name__.strip('_')}: {type(error).__name__}: {error}")

    def _load_and_unload(self, drawn: random.Random) -> None:
        task, variant = self._load(drawn.randrange(len(COMING_AND_GOING)))
        self._unload(task, variant)
        self.made["variants loaded and unloaded"] += 1

    def _load(self, number: int) -> tuple[str, str]:
        task, variant = COMING_AND_GOING[number]
        path = f"/variants/{task}/{variant}/load"
        answer = self._target.service.send("POST", path, headers=self._target.admin)
        assert answer.status == 200, f"{path}: {answer.status} {answer.text[:200]}"
        return task, variant

    def _unload(self, task: str, variant: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        path = f"/variants/{task}/{variant}/unload"
        while (answer := self._target.service.send("POST", path, headers=self._target.admin)).status == 409:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert answer.status == 200, f"{path}: {answer.status} {answer.text[:200]}"

    def _damage_and_repair(self, drawn: random.Random) -> None:
        """Changes a byte of an artifact: it is refused, and its file named, until it is whole again."""
        path = drawn.choice(sorted(self._target.store.joinpath(*DAMAGED).glob("onnx/*.onnx")))
        whole = path.read_bytes()
        flip_bytes(path)
        try:
            self._unload(*DAMAGED)
            refused = self._ask_damaged()
        finally:
            path.write_bytes(whole)
        served = self._ask_damaged()
        is_named = refused.status == 503 and path.name in refused.text
        assert is_named, f"{path.name} is damaged, and the answer is {refused.status} {refused.text[:200]}"
        assert served.status == 200, (
            f"{path.name} is whole again, and the answer is {served.status} {served.text[:200]}"
        )
        assert served.json["outputs"] == self._damaged_says["outputs"], f"{served.text[:200]} after a repair"
        self.made["artifacts damaged and repaired"] += 1

    def _ask_damaged(self) -> Any:
        for _ in range(100):
            answer = self._target.service.post(f"/translate?variant={DAMAGED[1]}&runtime=onnxruntime", QUESTION)
            if answer.status not in (429, 504):
                break
            time.sleep(0.5)
        return answer

    def _kill_evaluation(self, drawn: random.Random) -> None:
        for child in self._target.process.children():
            with contextlib.suppress(psutil.Error):
                if "slimseq.app.evaluations.child" in child.cmdline():
                    time.sleep(drawn.random())
                    child.kill()
                    self.made["evaluations killed"] += 1

    def _take_database_away(self, drawn: random.Random) -> None:
        """Puts a file in the place of the database's folder for a while."""
        away = self._state.with_name("away")
        self._is_database_harmed = True
        self._state.rename(away)
        self._state.touch()
        try:
            self._see_refused()
        finally:
            self._state.unlink()
            away.rename(self._state)
            self._database_harmed = time.monotonic()
            self._is_database_harmed = False
        self.made["databases taken away"] += 1

    def _see_refused(self) -> None:
        """Waits a moment. Meanwhile texts are served, and what needs the database is refused."""
        evaluation = {"task": "translation", "variants": ["quantized"], "dataset": "sample", "samples": 1}
        # Large bodies of an attack may leave no room for this one.
        while (answer := self._target.service.post("/evaluations", evaluation)).status == 429:
            time.sleep(0.2)
        is_refused = answer.status == 503 and "database-unavailable" in answer.text
        assert is_refused, f"an evaluation without a database: {answer.status} {answer.text[:200]}"
        self._has_ended.wait(2)
