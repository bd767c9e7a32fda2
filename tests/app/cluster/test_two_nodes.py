"""The service on a cluster of two Ray nodes: what a client sees while variants, artifacts and machines come and go."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slimseq.client import Client, ClientError, Retry
from slimseq.models_store.files import list_files, write_manifest
from slimseq.models_store.manifest import Task, digest_of
from slimseq.models_store.store import Store

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from tests.app.cluster.nodes import TWO_REPLICAS, Nodes, config_of, until

TEXTS = ("Good morning.", "The children are playing in the garden.", "We meet again on Monday at nine.")
TRANSLATION = Task.TRANSLATION


@dataclass
class Load:
    """Clients that each wait for their answer, and what they got."""

    port: int
    retry: Retry
    # The text, its translation, and the digest of the artifact.
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    errors: list[ClientError] = field(default_factory=list)

    @contextmanager
    def running(self, clients: int) -> Iterator["Load"]:
        """Sends requests with as many clients until the block ends."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._client, args=(number, stop)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _client(self, number: int, stop: threading.Event) -> None:
        with Client(f"http://127.0.0.1:{self.port}", retry=self.retry) as client:
            while not stop.is_set():
                text = TEXTS[number % len(TEXTS)]
                try:
                    answer = client.translate(text)
                    self.answers.append((text, answer.text, answer.digest))
                except ClientError as error:
                    self.errors.append(error)

    def wait_for(self, more: int) -> None:
        """Waits for so many more answers."""
        wanted = len(self.answers) + more
        until(lambda: len(self.answers) >= wanted or bool(self.errors))


def translations_of(answers: Sequence[tuple[str, str, str]]) -> dict[str, set[str]]:
    """Returns the different translations of each text."""
    found: dict[str, set[str]] = {text: set() for text in TEXTS}
    for text, output, _ in answers:
        found[text].add(output)
    return found


def test_every_route_answers_as_on_one_machine(deployed: Nodes) -> None:
    service = deployed.service

    answer = service.post("/translate", {"text": TEXTS[0]})
    stream = service.post("/translate", {"text": TEXTS[0], "stream": True}).events
    unknown = service.post("/translate?variant=missing", {"text": TEXTS[0]})

    assert answer.status == 200 and answer.json["outputs"][0]["text"] == "Guten Morgen."
    assert stream[-1][0] == "done" and stream[-1][1]["outputs"] == answer.json["outputs"]
    assert "".join(data["text"] for name, data in stream if name == "token") == "Guten Morgen."
    assert unknown.status == 404 and unknown.problem.request_id == unknown.headers["x-request-id"]
    assert service.get("/readyz").status == 200 and service.get("/").status == 200


def test_every_replica_answers_requests_that_name_a_variant(deployed: Nodes) -> None:
    for _ in range(20):
        assert deployed.service.post("/translate?variant=compact", {"text": TEXTS[0]}).status == 200


def test_an_artifact_is_upgraded_under_load_without_a_failed_request(
    deployed: Nodes, small_store: Path, tmp_path: Path
) -> None:
    store = Store(small_store)
    old = store.manifest(TRANSLATION, "quantized")
    with Load(deployed.port, Retry(attempts=1)).running(clients=3) as load:
        load.wait_for(10)
        # The clients name no variant: what is upgraded has to be the one that answers them.
        assert {digest for _, _, digest in load.answers} == {old.digest}

        new = change_digest(store, "quantized")
        deployed.deploy(config_of(tmp_path, deployed.port, small_store, *TWO_REPLICAS))
        until(lambda: bool(load.errors) or new in {digest for _, _, digest in load.answers[-20:]})
        deployed.wait_until_running(2)
        load.wait_for(10)

    assert load.errors == []
    digests = [digest for _, _, digest in load.answers]
    assert set(digests) == {old.digest, new} and set(digests[-10:]) == {new}
    assert all(len(outputs) == 1 for outputs in translations_of(load.answers).values())


def test_replicas_for_an_artifact_that_a_node_does_not_have_never_start_and_the_others_serve(
    deployed: Nodes, small_store: Path, tmp_path: Path
) -> None:
    path = config_of(tmp_path, deployed.port, small_store, *TWO_REPLICAS)
    right = path.read_text(encoding="utf-8")
    digest = Store(small_store).manifest(TRANSLATION, "quantized").digest
    path.write_text(right.replace(digest, "sha256:another"), encoding="utf-8")

    with Load(deployed.port, Retry(attempts=1)).running(clients=2) as load:
        deployed.deploy(path)
        until(lambda: "translation/quantized" in deployed.message())
        load.wait_for(20)
        path.write_text(right, encoding="utf-8")
        deployed.deploy(path)
        deployed.wait_until_running(2)

    assert load.errors == []


def test_a_node_dies_under_load_and_no_request_is_lost(deployed: Nodes) -> None:
    with Load(deployed.port, Retry(attempts=8, first_wait_seconds=0.2)).running(clients=6) as load:
        load.wait_for(20)

        deployed.kill_worker()
        load.wait_for(60)

    assert load.errors == []
    assert all(len(outputs) == 1 for outputs in translations_of(load.answers).values())
    assert Counter(digest for _, _, digest in load.answers).total() >= 80
    deployed.add_worker()
    deployed.wait_until_running(2)
    assert deployed.service.post("/translate", {"text": TEXTS[0]}).status == 200


def change_digest(store: Store, variant: str) -> str:
    """Makes another version of an artifact with the same weights, by a blank line in a file. Returns its digest."""
    folder, manifest = store.folder(TRANSLATION, variant), store.manifest(TRANSLATION, variant)
    config = folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    files = list_files(folder)
    write_manifest(folder, manifest.model_copy(update={"files": files, "digest": digest_of(files)}))
    return store.manifest(TRANSLATION, variant).digest
