"""Speed-ups divide figures of one run alone. Which setting is compared, and what counts on this machine."""

from typing import Any

import pytest

from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.evaluation.speed_up import Setting, common_speeds, measurements_of, speed_up_for_gate
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, variant_of
from tests.measured import performance

HERE: dict[str, Any] = {"host": host_name(), "cpu_flags": cpu_flags()}
ELSEWHERE: dict[str, Any] = {"host": "AMD EPYC, 2 cores", "cpu_flags": ["avx512_vnni"]}
MONDAY, TUESDAY = {"measured_at": "2026-11-23T10:00:00+00:00"}, {"measured_at": "2026-11-24T10:00:00+00:00"}


def original(*measured: Performance) -> Manifest:
    return manifest(performance=list(measured))


def compact(*measured: Performance) -> Manifest:
    return variant_of(manifest(), "compact", performance=list(measured))


def speed_ups(*manifests: Manifest, **more: Any) -> dict[str, float | None]:
    found = common_speeds(manifests, **more).speeds
    return {name: each.speed_up for name, each in found.items()}


@pytest.mark.parametrize(
    "other",
    [
        TUESDAY | ELSEWHERE,
        MONDAY | ELSEWHERE | {"cpu_flags": ["avx512_vnni", "avx_vnni"]},
        MONDAY | ELSEWHERE | {"host": "AMD EPYC, 1 core"},
        MONDAY | ELSEWHERE | {"runtime": "ctranslate2"},
        MONDAY | ELSEWHERE | {"batch": 16},
        MONDAY | ELSEWHERE | {"threads": 2},
    ],
    ids=["another run", "a CPU of the same name", "another machine", "runtime", "batch", "threads"],
)
def test_figures_of_two_runs_are_never_divided(other: dict[str, Any]) -> None:
    run = MONDAY | ELSEWHERE

    same = speed_ups(original(performance(500, **run)), compact(performance(4000, **run)))
    apart = speed_ups(original(performance(500, **other)), compact(performance(4000, **run)))

    assert same["compact"] == 8.0
    assert apart.get("compact") is None


def test_a_measurement_has_the_speed_of_its_base_model_beside_it_whatever_the_base_models_manifest_says() -> None:
    pair = {"reference": manifest().digest, "reference_tokens_per_second": 500.0}
    foreign = pair | {"reference": f"sha256:{'1' * 64}"}
    base = original(performance(9999, **ELSEWHERE, **TUESDAY))

    assert speed_ups(base, compact(performance(4000, **ELSEWHERE, **MONDAY, **pair)))["compact"] == 8.0
    assert speed_ups(base, compact(performance(4000, **ELSEWHERE, **TUESDAY, **foreign)))["compact"] is None


def test_all_variants_have_their_speed_in_one_setting_and_this_machine_counts_first() -> None:
    far, here = MONDAY | ELSEWHERE | {"batch": 16}, TUESDAY | HERE
    base = original(performance(500, **far), performance(100, **here))
    small = compact(performance(4000, **far), performance(300, **here))

    assert speed_ups(base, small) == {"original": 1.0, "compact": 3.0}
    assert speed_ups(base, small, prefers_here=False) == {"original": 1.0, "compact": 8.0}


def test_a_variant_without_a_speed_in_the_common_setting_has_none() -> None:
    far = MONDAY | ELSEWHERE
    pruned = variant_of(manifest(), "pruned", performance=[performance(700, **far)])

    found = speed_ups(original(performance(500, **far)), pruned, compact(performance(4000, **HERE)))

    assert found == {"original": 1.0, "pruned": 1.4}


def test_what_this_machine_measured_counts_with_the_beams_that_the_variant_has_now() -> None:
    small = compact()
    local = {small.digest: [performance(10, num_beams=1), performance(30, num_beams=2)]}

    assert [each.tokens_per_second for each in measurements_of(small, local)] == [10]


def test_a_gate_judges_the_fastest_runtime_by_the_base_model_on_the_same() -> None:
    run = MONDAY | ELSEWHERE | {"batch": 16}
    base = original(performance(1000, **run), performance(2000, **run, runtime="ctranslate2"))
    small = compact(performance(3000, **run), performance(8000, **run, runtime="ctranslate2"))

    found = speed_up_for_gate(small, base)

    assert found is not None
    assert (found.speed_up, found.measured.runtime) == (4.0, "ctranslate2")


def test_two_cpus_of_one_name_are_told_apart() -> None:
    older = Setting.of(performance(1, **ELSEWHERE), manifest())
    newer = Setting.of(performance(1, **ELSEWHERE | {"cpu_flags": ["avx512_vnni", "avx_vnni"]}), manifest())

    assert older.machine == "AMD EPYC, 2 cores (avx512_vnni)"
    assert newer.machine == "AMD EPYC, 2 cores (avx512_vnni, avx_vnni)"
    assert older != newer


@pytest.mark.parametrize("task", Task)
def test_the_speed_of_every_embedded_float_variant_has_that_of_its_base_model_of_the_same_run(task: Task) -> None:
    store = Store(embedded_store())
    manifests = [store.manifest(task, name) for name in ("original", "pruned", "distilled")]

    found = common_speeds(manifests, prefers_here=False).speeds

    assert set(found) == {"original", "pruned", "distilled"}
    assert all(each.speed_up is not None for each in found.values())
