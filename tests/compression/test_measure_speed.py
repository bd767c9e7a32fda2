"""`benchmark --tune`: layouts of workers and threads are measured and kept in the manifest."""

from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.measure_speed import BenchmarkOptions, tune_variant
from slimseq.evaluation.fastest import even_layouts
from slimseq.evaluation.host import available_cores, cpu_flags
from slimseq.models_store.manifest import Task
from tests.command_line import compression
from tests.compression.tiny import tiny_file
from tests.measured import amend, measured_layout

TASK = Task.TRANSLATION


def options(folder: Path, runtime: str | None = None) -> BenchmarkOptions:
    return BenchmarkOptions(dataset=tiny_file(folder), samples=8, batch=4, repeats=1, runtime=runtime)


def test_every_layout_of_every_runtime_is_measured_and_kept(context: Context, tmp_path: Path) -> None:
    add_ctranslate2(context, TASK, "original")
    layouts = {(each.workers, each.threads) for each in even_layouts(available_cores())}

    measured = tune_variant(context, TASK, "original", options(tmp_path))

    for runtime in ("onnxruntime", "ctranslate2"):
        assert {(each.workers, each.threads) for each in measured if each.runtime == runtime} == layouts
    speeds = [each.tokens_per_second for each in measured]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] > 0
    assert all((each.cores, each.cpu_flags) == (available_cores(), cpu_flags()) for each in measured)
    kept = context.store.manifest(TASK, "original").layouts
    assert sorted(kept, key=lambda each: -each.tokens_per_second) == measured


def test_a_new_measurement_replaces_those_of_the_same_kind_of_machine(context: Context, tmp_path: Path) -> None:
    here = {"cores": available_cores(), "cpu_flags": cpu_flags()}
    earlier = [
        measured_layout(64, 1, 1e9, **here),
        measured_layout(1, 2, 5, **here | {"runtime": "ctranslate2"}),
        measured_layout(1, 2, 6, cores=available_cores() + 1, cpu_flags=cpu_flags()),
    ]
    amend(context.store, "original", layouts=earlier)

    measured = tune_variant(context, TASK, "original", options(tmp_path, "onnxruntime"))

    kept = context.store.manifest(TASK, "original").layouts
    assert kept[:2] == earlier[1:]
    assert sorted(kept[2:], key=lambda each: -each.tokens_per_second) == measured


def test_torch_is_not_tuned(context: Context, tmp_path: Path) -> None:
    with pytest.raises(BadParameters, match="torch"):
        tune_variant(context, TASK, "original", options(tmp_path, "torch"))


def test_the_command_shows_the_fastest_first(context: Context, tmp_path: Path) -> None:
    words = ("benchmark", TASK.value, "original", "--tune", "--data", tiny_file(tmp_path), "--samples", "8")

    done = compression(*words, "--repeats", "1", "--store", context.store.root, "--json")
    refused = compression(*words, "--threads", "2", "--store", context.store.root)

    assert done.code == 0, done.error
    [layouts] = done.json.values()
    assert layouts[0]["tokens_per_second"] == max(each["tokens_per_second"] for each in layouts)
    assert refused.code == 1
    assert "--threads has no effect with --tune" in refused.error
