"""`prepare` times variants that cannot be compared yet, and keeps the figures in `speeds.json`."""

from pathlib import Path

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.compression import measure_here
from slimseq.compression.context import Context
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
    speeds = read_speeds(store.root, TASK)
    names = {each.digest: each.variant for each in store.manifests(TASK)}
    return {names[digest]: rows for digest, rows in speeds.items()}


def test_variants_that_cannot_be_compared_are_timed_in_one_run_once_and_no_manifest_changes(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    folders = [context.store.folder(TASK, name) for name in ("original", "quantized")]
    before = [contents(folder) for folder in folders]

    timed = measure_speeds(context)

    assert timed == ["translation/original", "translation/quantized"]
    rows = [row for found in measured(context.store).values() for row in found]
    assert {(row.host, tuple(row.cpu_flags), row.batch) for row in rows} == {(host_name(), tuple(cpu_flags()), 1)}
    original = context.store.manifest(TASK, "original").digest
    assert len({row.measured_at for row in rows}) == 1
    assert {row.reference for row in rows} == {original}
    assert measure_speeds(context) == []
    assert [contents(folder) for folder in folders] == before


def test_prepare_times_them_unless_it_shall_not_measure(tmp_path: Path) -> None:
    context = prepared(tmp_path)

    assert prepare(context, measure=False) == []
    assert measured(context.store) == {}
    assert prepare(context) == []
    assert set(measured(context.store)) == {"original", "quantized"}


def test_a_new_variant_is_timed_beside_the_others_and_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    hidden = context.store.folder(TASK, "small").rename(tmp_path / "small")
    measure_speeds(context)

    hidden.rename(context.store.folder(TASK, "small"))
    with_small = measure_speeds(context)
    context.store.remove(TASK, "quantized")
    original = context.store.manifest(TASK, "original")
    amend(context.store, "original", generation=original.generation.model_copy(update={"num_beams": 2}))
    measure_speeds(context)

    assert with_small == ["translation/original", "translation/quantized", "translation/small"]
    found = measured(context.store)
    assert set(found) == {"original", "small"}
    assert [row.num_beams for row in found["original"]] == [1, 2]


def test_figures_of_this_machine_in_the_manifests_are_enough(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    here = performance(100, host=host_name(), cpu_flags=cpu_flags(), num_beams=1)
    for name in ("original", "quantized"):
        amend(context.store, name, performance=[here])

    assert measure_speeds(context) == []

    # Of another machine, or of batches, they are not.
    amend(context.store, "quantized", performance=[here.model_copy(update={"batch": 16})])
    assert len(measure_speeds(context)) == 2


def test_a_rejected_variant_is_not_timed(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    check = Check(name="retention of bleu on news", value=0.9, limit=0.95, is_passed=False)
    amend(context.store, "small", gate=Verdict(status="rejected", checks=[check]))

    assert measure_speeds(context) == ["translation/original", "translation/quantized"]


def test_models_that_do_not_fit_into_memory_together_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = prepared(tmp_path)
    monkeypatch.setattr(measure_here, "MEMORY_SHARE", 0.0)

    measure_speeds(context)

    assert measured(context.store) == {}
    said = capsys.readouterr().err
    assert "The speed of translation/original, quantized was not measured on this machine" in said
    assert "slimseq benchmark" in said


def test_a_broken_file_is_written_anew_and_a_service_answers_without_it(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    path = context.store.root / TASK.value / SPEEDS
    path.write_text("{")

    assert Catalogue(context.store).speeds(TASK) == {}
    measure_speeds(context)

    assert set(measured(context.store)) == {"original", "quantized"}


def amend_as_on_a_fresh_machine(context: Context) -> None:
    """Figures of three machines, as of variants that were built and measured in several places."""
    kept = [score(0.0, retention=0.97, retention_interval=(0.96, 0.98), dataset="news")]
    far = {"host": "far", "num_beams": 1}
    amend(context.store, "original", performance=[performance(100, **far)])
    amend(context.store, "small", performance=[performance(110, **far)], quality=kept)
    amend(context.store, "quantized", performance=[performance(900, batch=16, host="farther")], quality=kept)


def test_the_fastest_variant_that_keeps_enough_is_selected_once_it_is_timed_beside_the_others(tmp_path: Path) -> None:
    context = prepared(tmp_path, has_small=True)
    amend_as_on_a_fresh_machine(context)
    choice = RequestedVariant(min_retention=0.96)

    before = Chooser(Defaults(Catalogue(context.store))).select(TASK, choice)
    measure_speeds(context)
    chooser = Chooser(Defaults(Catalogue(context.store)))
    after = chooser.select(TASK, choice)

    assert before.variant == "small"
    assert before.reason is not None
    assert before.reason.endswith("left out: quantized (its speed was not measured beside that of the others)")
    speeds = {name: rows[-1].tokens_per_second for name, rows in measured(context.store).items()}
    assert after.variant == max(speeds, key=lambda name: speeds[name])
    assert after.reason is not None
    assert "left out" not in after.reason
    assert chooser.left_out(TASK) == {}
