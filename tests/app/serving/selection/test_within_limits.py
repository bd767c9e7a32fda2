"""Which variant limits such as `min_retention` select, and what they say of variants that they cannot compare."""

from pathlib import Path
from typing import Any

import pytest

from slimseq.app.errors import NoVariantFits
from slimseq.app.serving.selection.chooser import RequestedVariant
from slimseq.models_store.manifest import DERIVED_FORMATS, Check, FileEntry, Manifest, Size, Task, Verdict, digest_of
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.app.serving.selection.test_chooser import chooser
from tests.measured import performance

TRANSLATION = Task.TRANSLATION


def variant(name: str, kept: float | None, tokens_per_second: float = 0, **more: Any) -> Manifest:
    """An artifact that keeps a share of the quality of `original`, None if unmeasured. Speed 0 is unmeasured too."""
    speed = [performance(tokens_per_second)] if tokens_per_second else []
    quality = [] if kept is None else [score(kept)]
    if name == "original":
        return manifest(quality=quality, performance=speed, **more)
    return variant_of(manifest(), name, quality=quality, performance=speed, **more)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.995, 150),
        variant("pruned", 0.96, 300),
        variant("unmeasured", None, 900),
    )


@pytest.mark.parametrize(
    ("min_retention", "chosen"), [(0.9, "pruned"), (0.96, "pruned"), (0.97, "quantized"), (0.999, "original")]
)
def test_the_fastest_that_keeps_enough_is_chosen(store: Path, min_retention: float, chosen: str) -> None:
    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=min_retention)).variant == chosen


def test_speeds_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    # On the machine `old`, where both were measured, `quantized` is faster. On `new`, `original` would seem faster.
    old, new = performance(1000, host="old"), performance(1900, host="new")
    store = put(
        tmp_path,
        variant("original", None).model_copy(update={"performance": [new, old]}),
        variant("quantized", 0.995).model_copy(update={"performance": [performance(1800, host="old")]}),
    )

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "quantized"


def test_if_none_keeps_enough_the_error_says_the_retention_of_each(store: Path) -> None:
    with pytest.raises(NoVariantFits) as refused:
        chooser(store).select(TRANSLATION, RequestedVariant(min_retention=1.01))

    detail = str(refused.value)
    assert "has min_retention 1.01; there is original with retention 1.0000" in detail
    assert "pruned with retention 0.9600" in detail
    assert "unmeasured with unmeasured retention" in detail


def test_among_unmeasured_speeds_the_fewest_bytes_are_chosen(tmp_path: Path) -> None:
    small = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"onnx": 5})
    store = put(tmp_path, variant("original", None), variant("small", 0.99, size=small))

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "small"


def test_a_variant_that_no_runtime_here_opens_is_never_chosen(tmp_path: Path) -> None:
    alien = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"alien": 5})
    store = put(tmp_path, variant("original", None, 1), variant("fast", 1.0, 999, size=alien))

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "original"


def test_a_rejected_variant_answers_only_where_it_is_named(tmp_path: Path) -> None:
    rejected = Verdict(status="rejected", checks=[Check(name="x", value=0.5, limit=0.9, is_passed=False)])
    root = put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.995, 500, gate=rejected),
        variant("slow", 0.99, 1),
    )

    assert chooser(root).select(TRANSLATION, RequestedVariant()).variant == "original"
    assert chooser(root).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "original"
    assert chooser(root).select(TRANSLATION, RequestedVariant("quantized")).variant == "quantized"


def test_only_variants_of_the_defaults_base_model_are_chosen_by_what_they_keep(tmp_path: Path) -> None:
    opus = manifest(variant="opus", performance=[performance(5000)])
    kept = [score(0.99, reference=opus.digest)]
    store = put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.97, 150),
        opus,
        variant_of(opus, "opus-int8", quality=kept, performance=[performance(9000)]),
    )

    by_default = chooser(store)
    by_setting = chooser(store, "opus-int8")

    assert by_default.select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "quantized"
    assert by_default.select(TRANSLATION, RequestedVariant(min_retention=0.98)).variant == "original"
    assert by_setting.select(TRANSLATION, RequestedVariant(min_retention=0.98)).variant == "opus-int8"
    assert by_setting.select(TRANSLATION, RequestedVariant(min_retention=0.995)).variant == "opus"


@pytest.mark.parametrize(
    ("choice", "chosen", "why"),
    [
        (
            RequestedVariant(max_bytes=2000),
            "quantized",
            "best retention of 2 variants within max_bytes 2000: quantized",
        ),
        (RequestedVariant(max_latency_ms=25), "pruned", "best retention of 1 variant within max_latency_ms 25: pruned"),
        (RequestedVariant(min_retention=0.9, max_bytes=2000), "pruned", "fastest of 2 variants"),
    ],
)
def test_limits_choose_from_what_was_measured_and_say_why(
    tmp_path: Path, choice: RequestedVariant, chosen: str, why: str
) -> None:
    def sized(made: Manifest, size: int, p50_ms: float) -> Manifest:
        rows = [each.model_copy(update={"p50_ms": p50_ms}) for each in made.performance]
        sizes = made.size.model_copy(update={"bytes_by_format": dict.fromkeys(made.size.bytes_by_format, size)})
        return made.model_copy(update={"performance": rows, "size": sizes})

    store = put(
        tmp_path,
        sized(variant("original", None, 100), 4000, 60.0),
        sized(variant("quantized", 0.995, 150), 1500, 40.0),
        sized(variant("pruned", 0.96, 300), 1000, 20.0),
    )

    selection = chooser(store).select(TRANSLATION, choice)

    assert selection.variant == chosen
    assert selection.reason is not None
    assert selection.reason.startswith(why)


def test_an_export_that_no_manifest_lists_has_the_bytes_of_its_files(tmp_path: Path) -> None:
    half = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"safetensors": 100})
    paths = ("config.json", "tokenizer.json", "model.safetensors")
    files = [FileEntry(path=path, bytes=2, sha256="0" * 64) for path in paths]
    pruned = variant("pruned", 0.96, size=half, files=files, digest=digest_of(files))
    root = put(tmp_path, variant("original", None), pruned)
    content = b"1234"
    with Store(root).exporting(TRANSLATION, "pruned", "onnx", "test", {}) as folder:
        for file in DERIVED_FORMATS["onnx"]:
            (folder / file).write_bytes(content)
    size = len(DERIVED_FORMATS["onnx"]) * len(content)

    selection = chooser(root).select(TRANSLATION, RequestedVariant(max_bytes=size))

    assert selection.variant == "pruned"
    assert selection.reason is not None
    assert f"{size} bytes" in selection.reason


def test_if_none_is_fast_enough_the_error_says_the_latency_of_each(store: Path) -> None:
    with pytest.raises(NoVariantFits, match=r"max_latency_ms 0\.001; there is original with retention 1\.0000, .* ms"):
        chooser(store).select(TRANSLATION, RequestedVariant(max_latency_ms=0.001))
