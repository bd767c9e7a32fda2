import pytest

from evaluation.fastest import fastest_runtime
from models_store.manifest import Performance

FLAGS = ["avx2", "avx512_vnni"]


def measured(
    runtime: str, speed: float, batch: int = 16, threads: int = 1, flags: list[str] | None = None
) -> Performance:
    return Performance(
        host="",
        cpu_flags=FLAGS if flags is None else flags,
        threads=threads,
        runtime=runtime,
        batch=batch,
        input_tokens=1,
        output_tokens=1,
        p50_ms=1,
        p95_ms=1,
        p99_ms=1,
        tokens_per_second=speed,
        resident_bytes=1,
    )


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([measured("a", 100), measured("b", 120)], "b"),
        ([measured("a", 130), measured("b", 120)], "a"),
        # Largest batch first: that is where speed is needed.
        ([measured("a", 100), measured("b", 120), measured("a", 90, 1), measured("b", 10, 1)], "b"),
        # Not measured alike, the preferred not measured at all, and measured on another kind of CPU.
        ([measured("a", 100), measured("b", 120, batch=1)], "a"),
        ([measured("b", 120)], "a"),
        ([measured("a", 100, flags=["neon"]), measured("b", 120, flags=["neon"])], "a"),
    ],
)
def test_the_fastest_that_was_measured_alike_on_such_a_machine(found: list[Performance], chosen: str) -> None:
    assert fastest_runtime(found, ["a", "b"], list(reversed(FLAGS))) == chosen


def test_a_single_runtime_needs_no_measurement() -> None:
    assert fastest_runtime([], ["a"], FLAGS) == "a"
