"""Variants come into memory and leave it while the service runs: on demand, within a budget, by an operator's call."""

from pathlib import Path

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import needs_torch, running_service

OPERATOR = {"Authorization": "Bearer of tokens"}
GREETING = {"text": "Good morning."}


def status(service: Service, variant: str) -> str:
    found: str = service.get(f"/variants/translation/{variant}").json["status"]
    return found


def call(service: Service, variant: str, verb: str, headers: dict[str, str] | None = None) -> int:
    return service.send("POST", f"/variants/translation/{variant}/{verb}", headers=headers).status


@needs_torch
def test_an_operator_loads_and_unloads(log: Path) -> None:
    with running_service(log, admin_token="of tokens", preload="translation/quantized") as service:
        assert call(service, "original", "load", OPERATOR) == 200
        assert status(service, "original") == "loaded"
        assert call(service, "original", "unload", OPERATOR) == 200
        assert status(service, "original") == "available"
        assert ("translation", "original") not in {
            (each["task"], each["variant"]) for each in service.get("/memory").json["variants"]
        }
        assert service.post("/translate?variant=original", GREETING).status == 200
        loaded = service.send("POST", "/variants/translation/original/load?runtime=torch", headers=OPERATOR)
        assert loaded.status == 200 and loaded.json["runtime"] == "torch"
        assert call(service, "nope", "load", OPERATOR) == 404
        assert call(service, "original", "unload", {"Authorization": "Bearer of none"}) == 401


def test_memory_comes_back_when_a_variant_is_closed(log: Path) -> None:
    def resident(service: Service) -> int:
        found: int = service.get("/memory").json["process_resident_bytes"]
        return found

    with running_service(log, admin_token="of tokens", preload="translation/quantized") as service:
        for _ in range(2):
            before = resident(service)
            call(service, "original", "load", OPERATOR)
            service.post("/translate?variant=original", {"text": [GREETING["text"]] * 16})
            opened = resident(service)
            assert call(service, "original", "unload", OPERATOR) == 200

        assert opened - before > 20_000_000
        assert resident(service) < before * 1.1


def test_without_a_token_nobody_loads_or_unloads(service: Service) -> None:
    refused = service.send("POST", "/variants/translation/quantized/unload", headers=OPERATOR)

    assert refused.status == 403 and "SLIMSEQ_ADMIN_TOKEN" in refused.problem.detail


def test_a_budget_holds_as_many_as_fit(embedded: Store, log: Path) -> None:
    onnx = embedded.folder(Task.TRANSLATION, "original") / "onnx"
    budget = 2 * sum(path.stat().st_size for path in onnx.iterdir())
    with running_service(log, max_resident_bytes=budget, preload="translation/original") as service:
        # On the runtime whose size the budget is made of, whatever is faster on this CPU.
        named = "runtime=onnxruntime&variant"
        answers = [service.post(f"/translate?{named}={name}", GREETING) for name in ("quantized", "original")]
        summary = service.post(f"/summarize?{named}=original", {"text": "The sun is shining on the town today."})

        assert [answer.status for answer in (*answers, summary)] == [200, 200, 200]
        report = service.get("/memory").json
        assert report["budget_bytes"] == budget and report["evictions"] >= 1
        assert sum(each["resident_bytes"] for each in report["variants"]) <= budget
        assert "slimseq_evictions_total" in service.get("/metrics").text


def test_a_request_can_name_the_runtime(service: Service) -> None:
    answers = {
        runtime: service.post(f"/translate?variant=quantized&runtime={runtime}", GREETING)
        for runtime in ("auto", "onnxruntime", "ctranslate2", "abacus")
    }

    assert answers["onnxruntime"].json["runtime"] == "onnxruntime"
    assert answers["auto"].json["outputs"] == answers["onnxruntime"].json["outputs"]
    refused = answers["ctranslate2"]
    assert (refused.status, refused.problem.type) == (422, "/problems/unfit-runtime")
    assert "no ctranslate2 files; it has no safetensors to make them from; onnxruntime can open it" in (
        refused.problem.detail
    )
    assert answers["abacus"].status == 422
