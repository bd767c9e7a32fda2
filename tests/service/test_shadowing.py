"""Live agreement: the reference variant answers a share of the requests again, and the service compares both outputs.

The alert of `slimseq_agreement_upper` holds once live agreement is surely lower than the recorded agreement.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.damage import forge
from tests.measured import amend
from tests.service.client import Service, eventually
from tests.service.conftest import running_service
from tests.service.test_measurements import samples

# How long comparisons may take on a busy machine: they run at low priority.
COMPARED_SECONDS = 240.0
# The margin of the alert: live agreement must be lower than the recorded one by more than this.
ALERT_MARGIN = 0.02
# Requests are sent in batches of so many, each once the batch before is compared. More at once could be left out.
BATCH = 8
SOURCES = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples]


def quality_of(service: Service, variant: str) -> Any:
    [found] = service.get(f"/quality?task=translation&variant={variant}").json["qualities"]
    return found


def metric(service: Service, name: str, **labels: str) -> float | None:
    """Returns a sample of `GET /metrics`, None if there is none."""
    return samples(service).get((name, tuple(sorted(labels.items()))))


def live_agreement(service: Service, variant: str, outputs: int) -> Any:
    """Waits until so many outputs are compared; returns the agreement then."""
    return eventually(
        lambda: quality_of(service, variant)["live_agreement"],
        lambda found: found and found["outputs"] >= outputs,
        COMPARED_SECONDS,
    )


def test_live_agreement_on_the_bundled_samples_equals_that_of_evaluate(log: Path) -> None:
    evaluated = compression("evaluate", "translation", "quantized", "--samples", 2 * BATCH, "--json").json
    offline = next(each["agreement"] for each in evaluated["variants"] if each["variant"] == "quantized")

    with running_service(log, shadow_share=1) as service:
        for sent in (BATCH, 2 * BATCH):
            for source in SOURCES[sent - BATCH : sent]:
                assert service.post("/translate?variant=quantized", {"text": source}).status == 200
            live = live_agreement(service, "quantized", sent)

        assert (live["outputs"], live["metric"]) == (2 * BATCH, offline["metric"])
        assert live["exact"] == pytest.approx(offline["exact"])
        assert live["similarity"] == pytest.approx(offline["similarity"])
        assert live["interval"][0] < live["similarity"] <= live["interval"][1]


def test_a_broken_variant_meets_the_condition_of_the_alert_within_100_shadowed_requests(
    own_store: Store, log: Path
) -> None:
    amend(own_store, "quantized", quality=[])
    options = ("--samples", 40, "--record", "--store", own_store.root)
    recorded = compression("evaluate", "translation", "quantized", *options)
    assert recorded.code == 0, recorded.error
    break_decoder(own_store)

    with running_service(log, store=own_store.root, shadow_share=1) as service:
        number, upper, lower = translate_until_the_alert(service, "quantized")

        quality = quality_of(service, "quantized")
        assert upper < lower - ALERT_MARGIN
        assert quality["live_agreement"]["outputs"] == number < 100
        assert quality["live_agreement"]["interval"][1] == upper
        assert quality["agreement"]["interval"][0] == lower
        assert quality["agreement"]["samples"] == 40
        labels = {"task": "translation", "variant": "quantized"}
        assert metric(service, "slimseq_shadows_total", **labels) == number
        # Users' texts are not logged.
        assert SOURCES[0] not in log.read_text()


def translate_until_the_alert(service: Service, variant: str) -> tuple[int, float, float]:
    """Translates the bundled sample until the condition of the alert holds.

    Returns:
        The number of requests, the upper bound of live agreement, and the recorded lower bound.
    """
    labels = {"task": "translation", "variant": variant}
    upper, lower = None, None
    for number, source in enumerate(SOURCES, 1):
        assert service.post(f"/translate?variant={variant}", {"text": source}).status == 200
        if number % 10 != 0:
            continue
        live_agreement(service, variant, number)
        upper = metric(service, "slimseq_agreement_upper", **labels)
        lower = metric(service, "slimseq_agreement_recorded_lower", **labels)
        assert upper is not None
        assert lower is not None
        if upper < lower - ALERT_MARGIN:
            break
    assert upper is not None
    assert lower is not None
    return number, upper, lower


def break_decoder(store: Store) -> None:
    """Multiplies the scales of one matrix of the quantized translator, and updates its manifest, so that it loads."""
    folder = store.folder(Task.TRANSLATION, "quantized")
    graph = onnx.load(folder / "onnx" / "decoder.onnx", load_external_data=False)
    name = "model.decoder.layers.0.encoder_attn.out_proj.weight.transposed_scale"
    scales = next(each for each in graph.graph.initializer if each.name == name)
    scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scales) * np.float32(8), name))
    forge(folder, "onnx/decoder.onnx", graph.SerializeToString())
