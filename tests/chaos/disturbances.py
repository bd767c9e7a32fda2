"""Disturbs a running service: loads and unloads variants, damages files, kills evaluations, takes the database away.

Each disturbance checks at once that the service reacts as it should. `storm.py` checks the answers to others.
"""

import contextlib
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.target import Target
from tests.damage import flip_bytes

# Variants that are loaded and unloaded. No good request names them.
COMING_AND_GOING = (
    ("translation", "distilled"),
    ("summarization", "distilled"),
    ("summarization", "pruned"),
)
# The variant whose files are damaged.
DAMAGED = ("translation", "pruned")
QUESTION = {"text": "Good morning."}
# How long answers may still call the database unavailable after it is back: a transaction may have waited for it.
AFTERMATH_SECONDS = 10.0


class Disturbances:
    """Threads that disturb the service until the block ends. `state` is the folder of its database."""

    def __init__(self, target: Target, state: Path, seed: int, pause_seconds: float) -> None:
        self.made: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._target = target
        self._state = state
        self._has_ended = threading.Event()
        self._database_harmed_until = float("-inf")
        self._is_database_harmed = False
        # The answer of the variant before its files are damaged. A repaired one must give the same.
        self._answer_when_whole = self._ask_damaged().json
        # The mean pause of each. Some evaluations must live to their end, and the database must be there mostly.
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
        """Whether the database was unavailable at some time since `started`, or shortly before it."""
        return self._is_database_harmed or self._database_harmed_until > started - AFTERMATH_SECONDS

    def load_all(self) -> None:
        """Loads all variants that disturbances load."""
        for number in range(len(COMING_AND_GOING)):
            self._load(number)
        self._ask_damaged()

    def unload_all(self) -> None:
        """Unloads what is loaded only because of disturbances."""
        for task, variant in (*COMING_AND_GOING, DAMAGED):
            self._unload(task, variant)

    def _repeat(self, work: Callable[[random.Random], None], pause_seconds: float, rng: random.Random) -> None:
        """Does a disturbance again and again, after pauses of half to one and a half times the mean."""
        while not self._has_ended.wait(pause_seconds * (0.5 + rng.random())):
            try:
                work(rng)
            except (OSError, AssertionError) as error:
                self.complaints.append(f"{work.__name__.strip('_')}: {type(error).__name__}: {error}")

    def _load_and_unload(self, rng: random.Random) -> None:
        task, variant = self._load(rng.randrange(len(COMING_AND_GOING)))
        self._unload(task, variant)
        self.made["variants loaded and unloaded"] += 1

    def _load(self, number: int) -> tuple[str, str]:
        task, variant = COMING_AND_GOING[number]
        path = f"/variants/{task}/{variant}/load"
        answer = self._target.service.send("POST", path, headers=self._target.admin)
        assert answer.status == 200, f"{path}: {answer.status} {answer.text[:200]}"
        return task, variant

    def _unload(self, task: str, variant: str, seconds: float = 60) -> None:
        """Unloads a variant once no request uses it (409 until then)."""
        deadline = time.monotonic() + seconds
        path = f"/variants/{task}/{variant}/unload"
        answer = self._target.service.send("POST", path, headers=self._target.admin)
        while answer.status == 409:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
            answer = self._target.service.send("POST", path, headers=self._target.admin)
        assert answer.status == 200, f"{path}: {answer.status} {answer.text[:200]}"

    def _damage_and_repair(self, rng: random.Random) -> None:
        """Changes a byte of an artifact: it is refused, and its file named, until it is whole again."""
        path = rng.choice(sorted(self._target.store.joinpath(*DAMAGED).glob("onnx/*.onnx")))
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
        assert served.json["outputs"] == self._answer_when_whole["outputs"], f"{served.text[:200]} after a repair"
        self.made["artifacts damaged and repaired"] += 1

    def _ask_damaged(self) -> Any:
        """Asks the variant whose files are damaged, again while the service has no time for it."""
        for _ in range(100):
            answer = self._target.service.post(f"/translate?variant={DAMAGED[1]}&runtime=onnxruntime", QUESTION)
            if answer.status not in (429, 504):
                break
            time.sleep(0.5)
        return answer

    def _kill_evaluation(self, rng: random.Random) -> None:
        """Kills the processes of evaluations that run, at some time of their work."""
        for child in self._target.process.children():
            with contextlib.suppress(psutil.Error):
                if "slimseq.app.evaluations.child" in child.cmdline():
                    time.sleep(rng.random())
                    child.kill()
                    self.made["evaluations killed"] += 1

    def _take_database_away(self, rng: random.Random) -> None:
        """Puts a file in the place of the database's folder for a while."""
        away = self._state.with_name("away")
        self._is_database_harmed = True
        self._state.rename(away)
        self._put_file_in_place()
        try:
            self._see_refused()
        finally:
            self._state.unlink()
            away.rename(self._state)
            self._database_harmed_until = time.monotonic()
            self._is_database_harmed = False
        self.made["databases taken away"] += 1

    def _put_file_in_place(self) -> None:
        """Makes a file of the name of the database's folder. The service may have made a new folder meanwhile."""
        while True:
            try:
                self._state.touch(exist_ok=False)
            except FileExistsError:
                shutil.rmtree(self._state)
            else:
                return

    def _see_refused(self) -> None:
        """Waits a moment. Meanwhile texts are served, and what needs the database is refused."""
        evaluation = {"task": "translation", "variants": ["quantized"], "dataset": "sample", "samples": 1}
        answer = self._target.service.post("/evaluations", evaluation)
        # Large bodies of an attack may leave no space for this one.
        while answer.status == 429:
            time.sleep(0.2)
            answer = self._target.service.post("/evaluations", evaluation)
        is_refused = answer.status == 503 and "database-unavailable" in answer.text
        assert is_refused, f"an evaluation without a database: {answer.status} {answer.text[:200]}"
        self._has_ended.wait(2)
