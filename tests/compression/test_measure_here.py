"""Timing on this machine: `prepare` times variants that were never timed together here, and keeps the speeds.

Two speeds can be compared if the same machine measured them in the same run. A manifest may have speeds of the machine
on which the variant was built. The speeds of this machine are in the file `speeds.json` of the store, by the digest of
the artifact, so that no manifest changes.
"""

from pathlib import Path

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.compression import measure_here
from slimseq.compression.measure_here import measure_speeds
from slimseq.compression.prepare import prepare
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.manifest import Check, Task, Verdict
from slimseq.models_store.measurements import Performance
from slimseq.models_store.speeds import SPEEDS, read_speeds
from slimseq.models_store.store import Store
from tests.compression.prepared_store import prepared
from tests.damage import contents
from tests.measured import amend, performance, score

TASK = Task.TRANSLATION


def measured(store: Store) -> dict[str, list[Performance]]:
    """Returns what `speeds.json` has, by the name of the variant."""
    speeds = read_speeds(store.root, TASK)
    names = {each.digest: each.variant for each in store.manifests(TASK)}
    return {names[digest]: rows for digest, rows in speeds.items()}


def test_variants_without_speeds_are_timed_in_one_run_on_this_machine(tmp_path: Path) -> None:
    context = prepared(tmp_path)

    timed = measure_speeds(context)

    assert timed == ["translation/original", "translation/quantized"]
    rows = [row for rows_of_variant in measured(context.store).values() for row in rows_of_variant]
    assert {row.host for row in rows} == {host_name()}
    assert {tuple(row.cpu_flags) for row in rows} == {tuple(cpu_flags())}
    assert {row.batch for row in rows} == {1}
    assert len({row.measured_at for row in rows}) == 1
    assert {row.reference for row in rows} == {context.store.manifest(TASK, "original").digest}


def test_timing_changes_no_file_of_an_artifact(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    folders = [context.store.folder(TASK, name) for name in ("original", "quantized")]
    before = [contents(folder) for folder in folders]

    measure_speeds(context)

    assert [contents(folder) for folder in folders] == before


def test_variants_are_timed_once(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    measure_speeds(context)

    assert measure_speeds(context) == []


def test_prepare_times_variants(tmp_path: Path) -> None:
    context = prepared(tmp_path)

    failed = prepare(context)

    assert failed == []
    assert set(measured(context.store)) == {"original", "quantized"}


def test_prepare_times_no_variant_if_it_shall_not_measure(tmp_path: Path) -> None:
    context = prepared(tmp_path)

    failed = prepare(context, measure=False)

    assert failed == []
    assert measured(context.store) == {}


def test_a_new_variant_is_timed_together_with_the_others(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    hidden = context.store.folder(TASK, "small").rename(tmp_path / "small")
    measure_speeds(context)
    hidden.rename(context.store.folder(TASK, "small"))

    timed = measure_speeds(context)

    assert timed == ["translation/original", "translation/quantized", "translation/small"]


def test_a_variant_is_timed_again_if_its_default_number_of_beams_changed(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    measure_speeds(context)
    original = context.store.manifest(TASK, "original")
    amend(context.store, "original", generation=original.generation.model_copy(update={"num_beams": 2}))

    measure_speeds(context)

    assert [row.num_beams for row in measured(context.store)["original"]] == [1, 2]


def test_the_speeds_of_a_removed_variant_are_removed_at_the_next_timing(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    measure_speeds(context)
    context.store.remove(TASK, "quantized")
    # The remaining variants are timed again, since the defaults of one have changed.
    original = context.store.manifest(TASK, "original")
    amend(context.store, "original", generation=original.generation.model_copy(update={"num_beams": 2}))

    measure_speeds(context)

    assert set(measured(context.store)) == {"original", "small"}


def test_variants_whose_manifests_have_speeds_of_this_machine_are_not_timed(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    here = performance(100, host=host_name(), cpu_flags=cpu_flags(), num_beams=1)
    for name in ("original", "quantized"):
        amend(context.store, name, performance=[here])

    assert measure_speeds(context) == []


def test_a_speed_of_batches_does_not_replace_the_speed_of_single_requests(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    here = performance(100, host=host_name(), cpu_flags=cpu_flags(), num_beams=1)
    amend(context.store, "original", performance=[here])
    amend(context.store, "quantized", performance=[here.model_copy(update={"batch": 16})])

    timed = measure_speeds(context)

    assert timed == ["translation/original", "translation/quantized"]


def test_a_rejected_variant_is_not_timed(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    check = Check(name="retention of bleu on news", value=0.9, limit=0.95, is_passed=False)
    amend(context.store, "small", gate=Verdict(status="rejected", checks=[check]))

    assert measure_speeds(context) == ["translation/original", "translation/quantized"]


def test_models_that_do_not_fit_into_memory_together_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = prepared(tmp_path)
    # No model fits into this share of the memory.
    monkeypatch.setattr(measure_here, "MEMORY_SHARE", 0.0)

    measure_speeds(context)

    assert measured(context.store) == {}
    printed = capsys.readouterr().err
    assert "The speed of translation/original, quantized was not measured on this machine" in printed
    assert "slimseq benchmark" in printed


def break_speeds(store: Store) -> None:
    (store.root / TASK.value / SPEEDS).write_text("{")


def test_a_broken_file_of_speeds_is_written_anew(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    break_speeds(context.store)

    measure_speeds(context)

    assert set(measured(context.store)) == {"original", "quantized"}


def test_a_service_ignores_a_broken_file_of_speeds(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    break_speeds(context.store)

    assert Catalogue(context.store).speeds(TASK) == {}


def amend_with_speeds_of_other_machines(store: Store) -> None:
    """Writes measurements into the manifests as if two other machines had built and measured the variants.

    The original and `small` were timed on the one machine, and `quantized` on the other.
    """
    quality = [score(0.0, retention=0.97, retention_interval=(0.96, 0.98), dataset="news")]
    on_first = {"host": "first", "num_beams": 1}
    amend(store, "original", performance=[performance(100, **on_first)])
    amend(store, "small", performance=[performance(110, **on_first)], quality=quality)
    amend(store, "quantized", performance=[performance(900, batch=16, host="second")], quality=quality)


def test_a_variant_that_was_timed_on_another_machine_than_the_others_is_not_selected(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    amend_with_speeds_of_other_machines(context.store)

    selected = Chooser(Defaults(Catalogue(context.store))).select(TASK, RequestedVariant(min_retention=0.96))

    assert selected.variant == "small"
    assert selected.reason is not None
    assert selected.reason.endswith("left out: quantized (its speed was not measured beside that of the others)")


def test_the_fastest_variant_that_keeps_enough_quality_is_selected_after_timing(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    amend_with_speeds_of_other_machines(context.store)

    measure_speeds(context)
    chooser = Chooser(Defaults(Catalogue(context.store)))
    after = chooser.select(TASK, RequestedVariant(min_retention=0.96))

    speeds = {name: rows[-1].tokens_per_second for name, rows in measured(context.store).items()}
    assert after.variant == max(speeds, key=lambda name: speeds[name])
    assert after.reason is not None
    assert "left out" not in after.reason
    assert chooser.left_out(TASK) == {}
